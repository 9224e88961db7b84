//! Addresses that are taken to another thread: whatever can be borrowed is copied first.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// What [`super::Upgrader::listen`] and [`super::Upgrader::connect`] take for an address: everything that
/// names addresses for the standard library, or is a path, borrowed or not.
///
/// A type of one's own that is a [`BindAddress`](crate::upgrader::BindAddress) or a
/// [`ConnectAddress`](crate::upgrader::ConnectAddress) says by this how it goes to the thread that makes
/// the socket.
pub trait ToOwnedAddress {
    /// The same address, that borrows nothing.
    type Owned: Send + 'static;

    /// Copies it.
    fn to_owned_address(&self) -> Self::Owned;
}

impl<A: ToOwnedAddress + ?Sized> ToOwnedAddress for &A {
    type Owned = A::Owned;

    fn to_owned_address(&self) -> Self::Owned {
        (**self).to_owned_address()
    }
}

macro_rules! owned {
    ($($address:ty => $owned:ty),* $(,)?) => {$(
        impl ToOwnedAddress for $address {
            type Owned = $owned;

            fn to_owned_address(&self) -> Self::Owned {
                self.to_owned()
            }
        }
    )*};
}

owned! {
    str => String,
    String => String,
    SocketAddr => SocketAddr,
    SocketAddrV4 => SocketAddrV4,
    SocketAddrV6 => SocketAddrV6,
    (IpAddr, u16) => (IpAddr, u16),
    (Ipv4Addr, u16) => (Ipv4Addr, u16),
    (Ipv6Addr, u16) => (Ipv6Addr, u16),
    (String, u16) => (String, u16),
    Path => PathBuf,
    PathBuf => PathBuf,
    OsStr => OsString,
    OsString => OsString,
}

impl ToOwnedAddress for (&str, u16) {
    type Owned = (String, u16);

    fn to_owned_address(&self) -> Self::Owned {
        (self.0.to_owned(), self.1)
    }
}

impl ToOwnedAddress for [SocketAddr] {
    type Owned = Addresses;

    fn to_owned_address(&self) -> Self::Owned {
        Addresses(self.to_owned())
    }
}

/// Several addresses, of which the first that works will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses(Vec<SocketAddr>);

impl ToSocketAddrs for Addresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.0.clone().into_iter())
    }
}
