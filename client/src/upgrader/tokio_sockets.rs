//! The types of tokio that sockets are handed out as: they never block.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ::tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use ::tokio::runtime::Handle;
use rustix::io::ioctl_fionbio;

use super::{
    Address, BindAddress, ConnectAddress, Connecting, Inherit, Listening, Options, SocketKind,
};

macro_rules! inherited {
    ($($socket:ident: $what:ident),*) => {$(
        impl Inherit for $socket {
            const KIND: SocketKind = SocketKind::$socket;

            fn inherit(descriptor: OwnedFd) -> io::Result<Self> {
                ready_for_tokio(&descriptor)?;
                Self::from_std(descriptor.into())
            }
        }

        impl $what for $socket {}
    )*};
}

inherited! {
    TcpListener: Listening, UdpSocket: Listening, UnixListener: Listening, UnixDatagram: Listening,
    TcpStream: Connecting, UnixStream: Connecting
}

impl Connecting for UdpSocket {}
impl Connecting for UnixDatagram {}

macro_rules! bound {
    ($($socket:ident from $blocking:path),*) => {$(
        impl<A: BindAddress<$blocking> + ?Sized> BindAddress<$socket> for A {
            fn bind(&self, options: &Options) -> io::Result<$socket> {
                let socket: $blocking = self.bind(options)?;
                $socket::inherit(socket.into())
            }

            fn addresses(&self) -> io::Result<Vec<Address>> {
                BindAddress::<$blocking>::addresses(self)
            }
        }
    )*};
}

bound! {
    TcpListener from std::net::TcpListener,
    UdpSocket from std::net::UdpSocket,
    UnixListener from std::os::unix::net::UnixListener,
    UnixDatagram from std::os::unix::net::UnixDatagram
}

macro_rules! connected {
    ($($socket:ident from $blocking:path),*) => {$(
        impl<A: ConnectAddress<$blocking> + ?Sized> ConnectAddress<$socket> for A {
            fn connect(&self) -> io::Result<$socket> {
                let socket: $blocking = self.connect()?;
                $socket::inherit(socket.into())
            }
        }
    )*};
}

connected! {
    TcpStream from std::net::TcpStream,
    UdpSocket from std::net::UdpSocket,
    UnixStream from std::os::unix::net::UnixStream,
    UnixDatagram from std::os::unix::net::UnixDatagram
}

/// Makes it one that does not block, as tokio needs it; an error outside of a runtime, where
/// tokio would panic.
fn ready_for_tokio(socket: impl AsFd) -> io::Result<()> {
    Handle::try_current().map_err(io::Error::other)?;
    Ok(ioctl_fionbio(socket, true)?)
}
