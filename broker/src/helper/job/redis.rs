//! How a job tells the log-in to a Redis server.

use fdbroker_policy::RedisAuth;

use super::values::Values;

const USER: &str = "user";
const DATABASE: &str = "database";
const CLIENT_NAME: &str = "client_name";

pub(super) fn values(auth: &RedisAuth) -> Values {
    let mut values = Values::default();
    values.add(DATABASE, auth.database.to_string());
    for (key, value) in [(USER, &auth.user), (CLIENT_NAME, &auth.client_name)] {
        if let Some(value) = value {
            values.add(key, value);
        }
    }
    values
}

pub(super) fn read(values: &mut Values) -> Option<RedisAuth> {
    Some(RedisAuth {
        user: values.take(USER),
        password: None,
        database: values.take(DATABASE)?.parse().ok()?,
        client_name: values.take(CLIENT_NAME),
    })
}
