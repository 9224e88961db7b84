//! A log-in that a program of the operator's does.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker has a program log in: it gets the connected socket, and ends with status 0 once it is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProgramAuth {
    /// The program's absolute path, and its arguments.
    pub command: Vec<String>,
    /// What the payload calls the protocol.
    pub protocol: String,
    /// The user, as the program is told.
    pub user: Option<String>,
    /// Where the password is that the program gets, if it gets one.
    pub password: Option<Credential>,
}

impl ProgramAuth {
    /// The program's path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

impl fmt::Display for ProgramAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, protocol, user, password } = self;
        write!(f, "program {protocol} by")?;
        command.iter().try_for_each(|word| write!(f, " {}", quoted(word)))?;
        if let Some(user) = user {
            write!(f, " user {}", quoted(user))?;
        }
        password.iter().try_for_each(|password| write!(f, " password {password}"))
    }
}
