//! How a job tells the log-in to a PostgreSQL server.

use fdbroker_policy::{PostgresAuth, PostgresMethod};

use super::values::Values;

const USER: &str = "user";
const DATABASE: &str = "database";
/// Once for each method.
const METHOD: &str = "method";

pub(super) fn values(auth: &PostgresAuth) -> Values {
    let mut values = Values::default();
    values.add(USER, &auth.user);
    values.add(DATABASE, &auth.database);
    for method in &auth.methods {
        values.add(METHOD, method.name());
    }
    values
}

pub(super) fn read(values: &mut Values) -> Option<PostgresAuth> {
    Some(PostgresAuth {
        user: values.take(USER)?,
        database: values.take(DATABASE)?,
        password: None,
        methods: values.take_all(METHOD).iter().map(|name| method(name)).collect::<Option<_>>()?,
    })
}

fn method(name: &str) -> Option<PostgresMethod> {
    PostgresMethod::ALL.into_iter().find(|method| method.name() == name)
}
