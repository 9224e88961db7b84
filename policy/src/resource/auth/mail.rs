//! The log-in to mail servers: those that take mail, and those that keep it.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker logs in to a server that takes mail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmtpAuth {
    /// The user.
    pub user: String,
    /// Where the password is. The policy says it in any case; the job of a helper does not.
    pub password: Option<Credential>,
    /// What the broker says that it is, in EHLO.
    pub client_name: String,
}

/// How the broker logs in to a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImapAuth {
    /// The user.
    pub user: String,
    /// Where the password is. The policy says it in any case; the job of a helper does not.
    pub password: Option<Credential>,
}

impl fmt::Display for SmtpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password, client_name } = self;
        write!(f, "smtp user {} client_name {}", quoted(user), quoted(client_name))?;
        password.iter().try_for_each(|password| write!(f, " password {password}"))
    }
}

impl fmt::Display for ImapAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password } = self;
        write!(f, "imap user {}", quoted(user))?;
        password.iter().try_for_each(|password| write!(f, " password {password}"))
    }
}
