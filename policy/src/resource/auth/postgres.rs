//! The log-in to a PostgreSQL server.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker logs in to a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PostgresAuth {
    /// The role.
    pub user: String,
    /// The database; its name is the role's if the policy does not say.
    pub database: String,
    /// Where the password is; a server that asks for none takes none.
    pub password: Option<Credential>,
    /// The methods that the server may ask for.
    pub methods: Vec<PostgresMethod>,
}

/// How a PostgreSQL server may ask for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostgresMethod {
    /// SCRAM-SHA-256 (RFC 5802): the server learns nothing that lets it log in elsewhere; the default.
    ScramSha256,
    /// A hash that a listener can use to guess the password, and the server's file to log in.
    Md5,
    /// The password itself.
    Cleartext,
}

impl PostgresMethod {
    /// Every method, the safest first.
    pub const ALL: [Self; 3] = [Self::ScramSha256, Self::Md5, Self::Cleartext];

    /// The word of the language, and of pg_hba.conf.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Cleartext => "password",
        }
    }
}

impl fmt::Display for PostgresAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, password, methods } = self;
        write!(f, "postgres user {} database {}", quoted(user), quoted(database))?;
        if let Some(password) = password {
            let methods: Vec<_> = methods.iter().map(|method| method.name()).collect();
            write!(f, " password {password} by {}", methods.join(", "))?;
        }
        Ok(())
    }
}
