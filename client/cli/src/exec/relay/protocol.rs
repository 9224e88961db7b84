//! The protocols that can be relayed: which there are, and what a program needs to find the socket.

use tokio::net::UnixStream;

use super::directory::Directory;
use super::program::Environment;
use super::sessions::{Session, Sessions};
use super::{postgres, redis, socks5};

/// What is spoken on the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// PostgreSQL's, version 3.
    Postgres,
    /// That of Redis, RESP.
    Redis,
    /// SOCKS, version 5.
    Socks5,
}

impl Protocol {
    /// Returns the protocol of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Postgres, Self::Redis, Self::Socks5]
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }

    /// Its name, on the command line and in payloads.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => postgres::NAME,
            Self::Redis => redis::NAME,
            Self::Socks5 => socks5::NAME,
        }
    }

    /// The name of the socket in its directory.
    pub(super) fn socket_name(self) -> &'static str {
        match self {
            Self::Postgres => postgres::SOCKET,
            Self::Redis => redis::SOCKET,
            Self::Socks5 => socks5::SOCKET,
        }
    }

    /// Whether `{}` in the arguments of the program stands for the path of the socket. A client of PostgreSQL is told
    /// the directory.
    pub(super) fn fills_arguments(self) -> bool {
        match self {
            Self::Postgres => false,
            Self::Redis | Self::Socks5 => true,
        }
    }

    /// Sets what leads a program to the socket.
    pub(super) fn set(
        self,
        first: &Session,
        directory: &Directory,
        prefix: &str,
        environment: &mut Environment,
    ) {
        match self {
            Self::Postgres => postgres::set(first, directory, prefix, environment),
            Self::Redis => redis::set(directory, prefix, environment),
            Self::Socks5 => socks5::set(directory, prefix, environment),
        }
    }

    /// Makes the state that the connections to one socket share.
    pub(super) fn server(self, sessions: Sessions) -> Server {
        match self {
            Self::Postgres => Server::Postgres(postgres::Server::new(sessions)),
            Self::Redis => Server::Redis(redis::Server::new(sessions)),
            Self::Socks5 => Server::Socks5(socks5::Server::new(sessions)),
        }
    }
}

/// What serves the connections to one socket.
pub(super) enum Server {
    /// PostgreSQL.
    Postgres(postgres::Server),
    /// Redis.
    Redis(redis::Server),
    /// SOCKS5.
    Socks5(socks5::Server),
}

impl Server {
    /// Serves one connection to its end. What goes wrong then concerns its client alone.
    pub(super) async fn serve(&self, client: UnixStream) {
        let served = match self {
            Self::Postgres(server) => server.serve(client).await,
            Self::Redis(server) => server.serve(client).await,
            Self::Socks5(server) => server.serve(client).await,
        };
        // The client has been told, or has gone.
        drop(served);
    }
}
