//! The types that sockets are handed out as.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::SocketKind;

/// A type of socket that can be inherited.
///
/// The types of the standard library are handed out as they were deposited: whether they block
/// belongs to the socket itself, so that changing it would change it for the process that still
/// serves. To change it, set the option on the socket. The types of tokio never block.
pub trait Inherit: AsFd + Sized {
    /// What the descriptor has to be.
    const KIND: SocketKind;

    /// Makes one of a descriptor that is of that form.
    ///
    /// # Errors
    /// What the runtime says that the type belongs to.
    fn inherit(descriptor: OwnedFd) -> io::Result<Self>;
}

/// A type of listening socket: what [`super::Upgrader::listen`] returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of listening socket",
    label = "which type of socket is it?",
    note = "say it where it is kept: `let http: std::net::TcpListener = upgrader.listen(\"http\", address)?;`"
)]
pub trait Listening: Inherit {}

/// A type of connection: what [`super::Upgrader::connect`] returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of connection",
    label = "which type of connection is it?",
    note = "say it where it is kept: `let (stream, state): (std::net::TcpStream, _) = upgrader.connect(\"db\", address)?;`"
)]
pub trait Connecting: Inherit {}

macro_rules! inherited {
    ($($socket:ident: $what:ident),*) => {$(
        impl Inherit for $socket {
            const KIND: SocketKind = SocketKind::$socket;

            fn inherit(descriptor: OwnedFd) -> io::Result<Self> {
                Ok(descriptor.into())
            }
        }

        impl $what for $socket {}
    )*};
}

inherited! {
    TcpListener: Listening, UdpSocket: Listening, UnixListener: Listening, UnixDatagram: Listening,
    TcpStream: Connecting, UnixStream: Connecting
}

// A datagram socket may have one peer.
impl Connecting for UdpSocket {}
impl Connecting for UnixDatagram {}
