//! How the broker proves to a server who it is: one file for each kind of log-in. No value here is secret.

mod mail;
mod mysql;
mod postgres;
mod program;
mod proxy;
mod redis;
mod script;

use std::fmt;

pub use self::mail::{ImapAuth, SmtpAuth};
pub use self::mysql::{MysqlAuth, MysqlMethod};
pub use self::postgres::{PostgresAuth, PostgresMethod};
pub use self::program::ProgramAuth;
pub use self::proxy::{ProxyAuth, ProxyTarget};
pub use self::redis::RedisAuth;
pub use self::script::{BadScriptStep, ScriptAuth, ScriptFill, ScriptPart, ScriptStep, ScriptText};
use super::credential::Credential;

/// How a connection is authenticated: one kind each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// A PostgreSQL server.
    Postgres(PostgresAuth),
    /// A proxy that speaks SOCKS version 5.
    Socks5(ProxyAuth),
    /// A proxy that speaks HTTP and has CONNECT.
    HttpProxy(ProxyAuth),
    /// A MySQL or MariaDB server.
    Mysql(MysqlAuth),
    /// A Redis server.
    Redis(RedisAuth),
    /// A server that takes mail.
    Smtp(SmtpAuth),
    /// A server that keeps mail.
    Imap(ImapAuth),
    /// Any server, by a script.
    Script(ScriptAuth),
    /// Any server, by a program of the operator's.
    Program(ProgramAuth),
}

impl Auth {
    /// The key of the language that says so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Socks5(_) => "socks5",
            Self::HttpProxy(_) => "http-proxy",
            Self::Mysql(_) => "mysql",
            Self::Redis(_) => "redis",
            Self::Smtp(_) => "smtp",
            Self::Imap(_) => "imap",
            Self::Script(_) => "script",
            Self::Program(_) => "program",
        }
    }

    /// What the payload calls the protocol that is spoken after the log-in.
    #[must_use]
    pub fn protocol(&self) -> &str {
        match self {
            Self::Script(auth) => &auth.protocol,
            Self::Program(auth) => &auth.protocol,
            _ => self.name(),
        }
    }

    /// Returns whether the connection to such a server can be encrypted.
    #[must_use]
    pub const fn takes_tls(&self) -> bool {
        !matches!(self, Self::Socks5(_) | Self::HttpProxy(_))
    }

    /// Returns whether such a server can be asked for TLS by the command STARTTLS.
    #[must_use]
    pub const fn has_start_tls(&self) -> bool {
        matches!(self, Self::Smtp(_) | Self::Imap(_))
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Postgres(auth) => auth.password.as_ref(),
            Self::Socks5(auth) | Self::HttpProxy(auth) => auth.password.as_ref(),
            Self::Mysql(auth) => auth.password.as_ref(),
            Self::Redis(auth) => auth.password.as_ref(),
            Self::Smtp(auth) => auth.password.as_ref(),
            Self::Imap(auth) => auth.password.as_ref(),
            Self::Script(auth) => auth.password.as_ref(),
            Self::Program(auth) => auth.password.as_ref(),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(auth) => auth.fmt(f),
            Self::Socks5(auth) | Self::HttpProxy(auth) => write!(f, "{} {auth}", self.name()),
            Self::Mysql(auth) => auth.fmt(f),
            Self::Redis(auth) => auth.fmt(f),
            Self::Smtp(auth) => auth.fmt(f),
            Self::Imap(auth) => auth.fmt(f),
            Self::Script(auth) => auth.fmt(f),
            Self::Program(auth) => auth.fmt(f),
        }
    }
}
