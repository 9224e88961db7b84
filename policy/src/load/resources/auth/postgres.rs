//! Reads `postgres`: the log-in to a PostgreSQL server.

use super::methods::{METHODS, methods};
use super::names::{PASSWORD, USER, name, password};
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::{PostgresAuth, PostgresMethod};

const ROLE: Expected = Expected { key: USER.key, write: "the role's name in quotes" };
const DATABASE: Expected = Expected { key: "database", write: "the database's name in quotes" };
const EXPECTED: &str = "a list of \"scram-sha-256\", \"md5\" and \"password\"";

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<PostgresAuth> {
    let known = [ROLE.key, DATABASE.key, PASSWORD.key, METHODS];
    section.refuse_unknown_keys(&known, report);
    if section.get(ROLE.key).is_none() {
        let remedy = format!("add `user =` with {}", ROLE.write);
        report.add_missing(section.name, "`postgres` has no `user`", remedy);
    }
    let user = name(section, ROLE, report);
    let database = name(section, DATABASE, report);
    let password = password(section, report);
    let known = PostgresMethod::ALL.map(|method| (method.name(), method));
    let methods = methods(section, EXPECTED, &known, report);
    let user = user?;
    let database = database.unwrap_or_else(|| user.clone());
    Some(PostgresAuth { user, database, password, methods })
}
