//! The log-in to a proxy, which then connects to the server itself.

use std::fmt;

use fdbroker_types::quoted;

use crate::resource::credential::Credential;

/// How the broker has a proxy connect to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyAuth {
    /// The server that the proxy connects to.
    pub target: ProxyTarget,
    /// The user; there is a password if, and only if, there is a user.
    pub user: Option<String>,
    /// Where the password is; a proxy that asks for none takes none.
    pub password: Option<Credential>,
}

/// A server behind a proxy. The proxy looks the name up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyTarget {
    /// A name or an address, without brackets.
    pub host: String,
    /// From 1 on.
    pub port: u16,
}

impl fmt::Display for ProxyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for ProxyAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, user, password } = self;
        write!(f, "target {target}")?;
        if let Some(user) = user {
            write!(f, " user {}", quoted(user))?;
        }
        password.as_ref().map_or(Ok(()), |password| write!(f, " password {password}"))
    }
}
