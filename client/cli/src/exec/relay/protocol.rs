//! The protocols that can be relayed: which there are, and what a program needs to find the socket.

use std::net::SocketAddr;

use tokio::net::UnixStream;

use super::directory::Directory;
use super::program::Environment;
use super::proxied::http_proxy::{self, HttpProxy};
use super::proxied::socks5::{self, Socks5};
use super::session::Session;
use super::sessions::Sessions;
use super::{mysql, postgres, proxied, redis};
use crate::failure::Failure;

/// What is spoken on the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// PostgreSQL's, version 3.
    Postgres,
    /// That of MySQL and MariaDB, 4.1.
    Mysql,
    /// That of Redis, RESP.
    Redis,
    /// SOCKS, version 5.
    Socks5,
    /// That of HTTP proxies, CONNECT.
    HttpProxy,
}

const ALL: [Protocol; 5] =
    [Protocol::Postgres, Protocol::Mysql, Protocol::Redis, Protocol::Socks5, Protocol::HttpProxy];

/// What else the protocols are called.
const ALIASES: [(&str, Protocol); 9] = [
    ("postgresql", Protocol::Postgres),
    ("pgsql", Protocol::Postgres),
    ("mariadb", Protocol::Mysql),
    ("rediss", Protocol::Redis),
    ("valkey", Protocol::Redis),
    ("socks", Protocol::Socks5),
    ("socks5h", Protocol::Socks5),
    ("https-proxy", Protocol::HttpProxy),
    ("http_proxy", Protocol::HttpProxy),
];

impl Protocol {
    /// Returns the protocol of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Returns the protocol that is probably meant by a name that is none.
    pub(crate) fn meant_by(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, meant)| meant);
        let meant = alias.copied().or_else(|| Self::named(&name));
        meant.map(Self::name)
    }

    /// What the sessions of the slot may speak. Behind a proxy of either kind is one server.
    pub(super) fn spoken(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[postgres::NAME],
            Self::Mysql => &[mysql::NAME],
            Self::Redis => &[redis::NAME],
            Self::Socks5 => &[socks5::NAME, http_proxy::NAME],
            Self::HttpProxy => &[http_proxy::NAME, socks5::NAME],
        }
    }

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => postgres::NAME,
            Self::Mysql => mysql::NAME,
            Self::Redis => redis::NAME,
            Self::Socks5 => socks5::NAME,
            Self::HttpProxy => http_proxy::NAME,
        }
    }

    /// The name of the socket in its directory; `None` for a port, where programs take nothing else.
    pub(super) fn socket_name(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some(postgres::SOCKET),
            Self::Mysql => Some(mysql::SOCKET),
            Self::Redis => Some(redis::SOCKET),
            Self::Socks5 => Some(socks5::SOCKET),
            Self::HttpProxy => None,
        }
    }

    /// The name of the socket whose path `{}` in the arguments of the program stands for. A client of PostgreSQL is
    /// told the directory.
    pub(super) fn argument(self) -> Option<&'static str> {
        self.socket_name().filter(|_| self != Self::Postgres)
    }

    /// Returns the programs that are told the socket by their arguments alone.
    pub(super) fn blind_programs(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &redis::BLIND_PROGRAMS,
            Self::Postgres | Self::Mysql | Self::Socks5 | Self::HttpProxy => &[],
        }
    }

    /// Sets what leads a program to the socket in the directory, or to the port.
    pub(super) fn set(
        self,
        first: &Session,
        directory: &Directory,
        port: Option<SocketAddr>,
        prefix: &str,
        environment: &mut Environment,
    ) -> Result<(), Failure> {
        match self {
            Self::Postgres => postgres::set(first, directory, prefix, environment)?,
            Self::Mysql => mysql::set(first, directory, prefix, environment)?,
            Self::Redis => redis::set(directory, prefix, environment),
            Self::Socks5 => socks5::set(directory, prefix, environment),
            Self::HttpProxy => http_proxy::set(port, prefix, environment),
        }
        Ok(())
    }

    /// Makes the state that the connections to one socket share.
    pub(super) fn server(self, sessions: Sessions) -> Server {
        match self {
            Self::Postgres => Server::Postgres(postgres::Server::new(sessions)),
            Self::Mysql => Server::Mysql(mysql::Server::new(sessions)),
            Self::Redis => Server::Redis(redis::Server::new(sessions)),
            Self::Socks5 => Server::Socks5(proxied::Server::new(sessions)),
            Self::HttpProxy => Server::HttpProxy(proxied::Server::new(sessions)),
        }
    }
}

/// What serves the connections to one socket, or one port.
pub(super) enum Server {
    Postgres(postgres::Server),
    Mysql(mysql::Server),
    Redis(redis::Server),
    Socks5(proxied::Server<Socks5>),
    HttpProxy(proxied::Server<HttpProxy>),
}

impl Server {
    /// Serves one connection to its end. What goes wrong then concerns its client alone.
    pub(super) async fn serve(&self, client: UnixStream) {
        let served = match self {
            Self::Postgres(server) => server.serve(client).await,
            Self::Mysql(server) => server.serve(client).await,
            Self::Redis(server) => server.serve(client).await,
            Self::Socks5(server) => server.serve(client).await,
            Self::HttpProxy(server) => server.serve(client).await,
        };
        // The client has been told, or has gone.
        drop(served);
    }
}
