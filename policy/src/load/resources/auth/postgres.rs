//! Reads `postgres`: the log-in to a PostgreSQL server.

use super::names::{PASSWORD, name, password};
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::load::suggest::suggest;
use crate::{PostgresAuth, PostgresMethod};

const USER: Expected = Expected { key: "user", write: "the role's name in quotes" };
const DATABASE: Expected = Expected { key: "database", write: "the database's name in quotes" };
const METHODS: Expected =
    Expected { key: "methods", write: "a list of \"scram-sha-256\", \"md5\" and \"password\"" };

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<PostgresAuth> {
    let known = [USER.key, DATABASE.key, PASSWORD.key, METHODS.key];
    section.refuse_unknown_keys(&known, report);
    if section.get(USER.key).is_none() {
        let remedy = format!("add `user =` with {}", USER.write);
        report.add_missing(section.name, "`postgres` has no `user`", remedy);
    }
    let user = name(section, USER, report);
    let database = name(section, DATABASE, report);
    let password = password(section, report);
    let methods = methods(section, report);
    let user = user?;
    let database = database.unwrap_or_else(|| user.clone());
    Some(PostgresAuth { user, database, password, methods })
}

fn methods(section: Section<'_, '_>, report: &mut Report<'_>) -> Vec<PostgresMethod> {
    let Some(words) = section.strings(METHODS, report) else {
        return vec![PostgresMethod::ScramSha256];
    };
    let mut methods = Vec::new();
    for (word, span) in words {
        let found = PostgresMethod::ALL.into_iter().find(|method| method.name() == word);
        match found {
            Some(method) if methods.contains(&method) => {}
            Some(method) => methods.push(method),
            None => {
                let names = PostgresMethod::ALL.map(PostgresMethod::name);
                let remedy = suggest(word, names.into_iter(), "write one of");
                report.add(&span, format!("`methods` cannot have \"{word}\""), remedy);
            }
        }
    }
    methods
}
