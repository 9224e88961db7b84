//! Reads `mysql`: the log-in to a MySQL or MariaDB server.

use super::methods::{METHODS, methods};
use super::names::{PASSWORD, USER, name, password};
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::{MysqlAuth, MysqlMethod};

const DATABASE: Expected = Expected { key: "database", write: "the database's name in quotes" };
const EXPECTED: &str = "a list of \"caching_sha2_password\" and \"mysql_native_password\"";

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<MysqlAuth> {
    section.refuse_unknown_keys(&[USER.key, DATABASE.key, PASSWORD.key, METHODS], report);
    if section.get(USER.key).is_none() {
        let remedy = format!("add `user =` with {}", USER.write);
        report.add_missing(section.name, "`mysql` has no `user`", remedy);
    }
    let user = name(section, USER, report);
    let database = name(section, DATABASE, report);
    let password = password(section, report);
    let known = MysqlMethod::ALL.map(|method| (method.name(), method));
    let methods = methods(section, EXPECTED, &known, report);
    Some(MysqlAuth { user: user?, database, password, methods })
}
