//! The log-in to a Redis server.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker logs in to a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisAuth {
    /// The user of the access control list; the server's default user if the policy does not say.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<Credential>,
    /// The number of the database.
    pub database: u32,
    /// What the server lists the connection as.
    pub client_name: Option<String>,
}

impl fmt::Display for RedisAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password, database, client_name } = self;
        f.write_str("redis")?;
        if let Some(user) = user {
            write!(f, " user {}", quoted(user))?;
        }
        write!(f, " database {database}")?;
        if let Some(name) = client_name {
            write!(f, " client_name {}", quoted(name))?;
        }
        password.iter().try_for_each(|password| write!(f, " password {password}"))
    }
}
