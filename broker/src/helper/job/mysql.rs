//! How a job tells the log-in to a MySQL server.

use fdbroker_policy::{MysqlAuth, MysqlMethod};

use super::values::Values;

const USER: &str = "user";
const DATABASE: &str = "database";
/// Once for each method.
const METHOD: &str = "method";

pub(super) fn values(auth: &MysqlAuth) -> Values {
    let mut values = Values::default();
    values.add(USER, &auth.user);
    if let Some(database) = &auth.database {
        values.add(DATABASE, database);
    }
    for method in &auth.methods {
        values.add(METHOD, method.name());
    }
    values
}

pub(super) fn read(values: &mut Values) -> Option<MysqlAuth> {
    Some(MysqlAuth {
        user: values.take(USER)?,
        database: values.take(DATABASE),
        password: None,
        methods: values.take_all(METHOD).iter().map(|name| method(name)).collect::<Option<_>>()?,
    })
}

fn method(name: &str) -> Option<MysqlMethod> {
    MysqlMethod::ALL.into_iter().find(|method| method.name() == name)
}
