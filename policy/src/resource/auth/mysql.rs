//! The log-in to a MySQL or MariaDB server.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker logs in to a MySQL or MariaDB server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MysqlAuth {
    /// The user.
    pub user: String,
    /// The database that is selected, if there is one.
    pub database: Option<String>,
    /// Where the password is; a user without one has none.
    pub password: Option<Credential>,
    /// The methods that the server may ask for.
    pub methods: Vec<MysqlMethod>,
}

/// How a MySQL server may ask for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MysqlMethod {
    /// A proof over SHA-256, or the password itself on a Unix socket: the default.
    CachingSha2Password,
    /// A proof over SHA-1; the server's file is enough to log in.
    NativePassword,
}

impl MysqlMethod {
    /// Every method, the safest first.
    pub const ALL: [Self; 2] = [Self::CachingSha2Password, Self::NativePassword];

    /// The word of the language, and of the server.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CachingSha2Password => "caching_sha2_password",
            Self::NativePassword => "mysql_native_password",
        }
    }
}

impl fmt::Display for MysqlAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, password, methods } = self;
        write!(f, "mysql user {}", quoted(user))?;
        if let Some(database) = database {
            write!(f, " database {}", quoted(database))?;
        }
        if let Some(password) = password {
            let methods: Vec<_> = methods.iter().map(|method| method.name()).collect();
            write!(f, " password {password} by {}", methods.join(", "))?;
        }
        Ok(())
    }
}
