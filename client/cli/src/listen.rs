//! A listening socket made from a word such as `tcp:127.0.0.1:80` or `unix:/run/web.sock`.

use fdbroker_types::quoted;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;

use crate::failure::Failure;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// A TCP address and port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket, which must not exist yet.
    Unix(PathBuf),
}

impl Address {
    /// Binds and listens. A Unix socket's file stays when everything else has gone.
    pub(crate) fn listen(&self) -> Result<OwnedFd, Failure> {
        let listening = match self {
            Self::Tcp(address) => TcpListener::bind(address).map(OwnedFd::from),
            Self::Unix(path) => UnixListener::bind(path).map(OwnedFd::from),
        };
        listening.map_err(|error| {
            Failure::Local(format!("cannot listen at {self}: {error}{}", self.remedy(&error)))
        })
    }
}

impl Address {
    /// What to do about an address that cannot be bound.
    fn remedy(&self, error: &io::Error) -> &'static str {
        match (error.kind(), self) {
            (io::ErrorKind::AddrInUse, _) => {
                "; the socket may be parked already: see fdbroker list"
            }
            (io::ErrorKind::PermissionDenied, Self::Tcp(address)) if address.port() < 1024 => {
                "; ports below 1024 need privilege: let root deposit it"
            }
            _ => "",
        }
    }

    /// Removes what [`Address::listen`] made and nobody took over.
    pub(crate) fn take_back(&self) {
        if let Self::Unix(path) = self {
            // The failure that led here is the one to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(
                |_| "an address and a port are needed, such as tcp:127.0.0.1:80 or tcp:[::]:80",
            ),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => Err("give tcp:ADDRESS:PORT or unix:PATH"),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{path}", path = quoted(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_bound_has_a_remedy() {
        let low = Address::Tcp(([127, 0, 0, 1], 80).into());
        let high = Address::Tcp(([127, 0, 0, 1], 8080).into());
        let denied = io::ErrorKind::PermissionDenied.into();
        assert!(low.remedy(&denied).contains("let root deposit it"));
        assert_eq!(high.remedy(&denied), "");
        assert_eq!(Address::Unix("/run/a".into()).remedy(&denied), "");
        assert!(high.remedy(&io::ErrorKind::AddrInUse.into()).contains("see fdbroker list"));
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        assert_eq!("tcp:[::1]:80".parse(), Ok(Address::Tcp(([0, 0, 0, 0, 0, 0, 0, 1], 80).into())));
        assert_eq!("unix:/run/a:b".parse(), Ok(Address::Unix("/run/a:b".into())));
        for wrong in ["", "tcp:80", "udp:127.0.0.1:1", "unix:", "/run/a"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
