//! Resources that are connections: where the server is. No value here is secret.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::auth::Auth;
use super::credential::Credential;
use super::tls::Tls;
use crate::Kind;

/// A connection to a server, authenticated where the policy says how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectSource {
    /// Tried in this order until one answers; at least one.
    pub addresses: Vec<ServerAddress>,
    /// The local address that a TCP connection comes from.
    pub source: Option<IpAddr>,
    /// How long one address may take to answer.
    pub connect_timeout: Duration,
    /// After how long without traffic the kernel asks whether the server is still there (SO_KEEPALIVE).
    pub keep_alive: Duration,
    /// How long what was sent may stay unacknowledged (TCP_USER_TIMEOUT).
    pub user_timeout: Duration,
    /// How it is encrypted, if it is.
    pub tls: Option<Box<Tls>>,
    /// How the connection is authenticated; without it, the caller gets it as it was made.
    pub auth: Option<Auth>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A host, by name or address, and a port. The helper looks the name up.
    Tcp {
        /// As the policy has it, without brackets.
        host: String,
        /// From 1 on.
        port: u16,
    },
    /// A Unix stream socket, by its absolute path.
    Unix(String),
}

impl ConnectSource {
    /// How long one address may take if the policy does not say.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// After how long without traffic the kernel asks, if the policy does not say.
    pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(60);
    /// How long what was sent may stay unacknowledged if the policy does not say.
    pub const DEFAULT_USER_TIMEOUT: Duration = Duration::from_secs(60);

    /// Returns what the socket is, where that is the same for all addresses.
    pub(super) fn kind(&self) -> Option<Kind> {
        match &self.tls {
            // The caller's end of a pair: a helper passes on what goes over it.
            Some(tls) if !tls.kernel => return Some(Kind::Unix),
            // It may be the socket itself.
            Some(_) => return None,
            None => {}
        }
        let is_unix = |address: &ServerAddress| matches!(address, ServerAddress::Unix(_));
        match self.addresses.iter().filter(|address| is_unix(address)).count() {
            0 => Some(Kind::Tcp),
            unix if unix == self.addresses.len() => Some(Kind::Unix),
            _ => None,
        }
    }

    /// Returns the secrets that opening it needs.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.password().into_iter().chain(self.tls.as_deref().and_then(Tls::credential))
    }

    /// Returns where the password of the log-in is kept, if it takes one.
    #[must_use]
    pub fn password(&self) -> Option<&Credential> {
        self.auth.as_ref().and_then(Auth::credential)
    }
}

/// Returns the keys of a connection, and what they mean. A secret is named by where it is kept.
pub(super) fn entries(connect: &ConnectSource) -> Vec<(&'static str, String)> {
    let milliseconds = |time: Duration| format!("{} ms", time.as_millis());
    let addresses: Vec<String> = connect.addresses.iter().map(ToString::to_string).collect();
    let mut entries = vec![
        ("connect", addresses.join(", ")),
        ("source", connect.source.map_or("any".to_owned(), |source| source.to_string())),
        ("connect_timeout", milliseconds(connect.connect_timeout)),
        ("keep_alive", milliseconds(connect.keep_alive)),
        ("user_timeout", milliseconds(connect.user_timeout)),
    ];
    entries.push(("tls", connect.tls.as_ref().map_or("none".to_owned(), ToString::to_string)));
    entries.push(("auth", connect.auth.as_ref().map_or("none".to_owned(), ToString::to_string)));
    entries
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}
