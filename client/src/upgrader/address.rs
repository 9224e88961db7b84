//! Where the ends of a connection are, in a form that outlives the process.

use fdbroker_types::quoted;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix, getpeername, getsockname};

/// The address of one end of a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Address {
    /// An address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket, as it was bound: it may be relative, and may be gone.
    Path(PathBuf),
    /// A Unix socket's name in the abstract namespace, without the NUL before it.
    Abstract(Vec<u8>),
    /// A Unix socket that nobody bound.
    Unnamed,
}

impl Address {
    /// The address and port; none of a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            _ => None,
        }
    }

    /// The other end of a connected socket.
    pub(crate) fn of_peer(socket: impl AsFd) -> io::Result<Option<Self>> {
        Ok(getpeername(socket)?.and_then(Self::from_any))
    }

    /// This end of a socket.
    pub(crate) fn of_local(socket: impl AsFd) -> io::Result<Option<Self>> {
        Ok(Self::from_any(getsockname(socket)?))
    }

    fn from_any(any: SocketAddrAny) -> Option<Self> {
        if let Ok(address) = SocketAddr::try_from(any.clone()) {
            return Some(Self::Ip(address));
        }
        SocketAddrUnix::try_from(any).ok().map(|unix| Self::from_unix(&unix))
    }

    fn from_unix(unix: &SocketAddrUnix) -> Self {
        match (unix.path_bytes(), unix.abstract_name()) {
            (Some(path), _) => Self::Path(OsStr::from_bytes(path).into()),
            (None, Some(name)) => Self::Abstract(name.to_vec()),
            (None, None) => Self::Unnamed,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ip(SocketAddr::V4(address)) => {
                out.push(V4);
                out.extend(address.ip().octets());
                out.extend(address.port().to_ne_bytes());
            }
            Self::Ip(SocketAddr::V6(address)) => {
                out.push(V6);
                out.extend(address.ip().octets());
                out.extend(address.port().to_ne_bytes());
                out.extend(address.flowinfo().to_ne_bytes());
                out.extend(address.scope_id().to_ne_bytes());
            }
            Self::Path(path) => {
                out.push(PATH);
                out.extend(path.as_os_str().as_bytes());
            }
            Self::Abstract(name) => {
                out.push(ABSTRACT);
                out.extend(name);
            }
            Self::Unnamed => out.push(UNNAMED),
        }
        out
    }

    /// Returns `None` if no version up to this one writes such bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            V4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                let port = u16::from_ne_bytes(rest.try_into().ok()?);
                Some(Self::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(*ip)), port)))
            }
            V6 => Self::v6(rest),
            PATH => Some(Self::Path(OsStr::from_bytes(rest).into())),
            ABSTRACT => Some(Self::Abstract(rest.to_vec())),
            UNNAMED => rest.is_empty().then_some(Self::Unnamed),
            _ => None,
        }
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let (ip, rest) = bytes.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (flow, scope) = rest.split_first_chunk()?;
        let scope = u32::from_ne_bytes(scope.try_into().ok()?);
        let (port, flow) = (u16::from_ne_bytes(*port), u32::from_ne_bytes(*flow));
        let address = SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope);
        Some(Self::Ip(SocketAddr::V6(address)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Path(path) => write!(f, "{path}", path = quoted(path)),
            Self::Abstract(name) => write!(f, "@\"{}\"", name.escape_ascii()),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

const UNNAMED: u8 = 0;
const PATH: u8 = 1;
const ABSTRACT: u8 = 2;
const V4: u8 = 4;
const V6: u8 = 6;
