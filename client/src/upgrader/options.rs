//! How a socket is made that was not inherited.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use super::{Address, bind_unix};

/// What a new socket is to be like; what is not set has a default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    reuse_port: bool,
    only_v6: Option<bool>,
    backlog: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self { reuse_port: false, only_v6: None, backlog: 4096 }
    }
}

/// Where a socket of type `T` can be bound: a TCP or UDP socket at anything that names addresses,
/// a Unix socket at a path.
pub trait BindAddress<T> {
    /// Makes the socket.
    ///
    /// # Errors
    /// As socket(2), bind(2) and listen(2).
    fn bind(&self, options: &Options) -> io::Result<T>;

    /// The addresses that it stands for, any of which would do: to tell whether a socket that was
    /// inherited is bound there. None, the default, stands for all.
    ///
    /// # Errors
    /// As getaddrinfo(3).
    fn addresses(&self) -> io::Result<Vec<Address>> {
        Ok(Vec::new())
    }
}

/// What a connection of type `T` can be made to.
pub trait ConnectAddress<T> {
    /// Makes the connection.
    ///
    /// # Errors
    /// As connect(2).
    fn connect(&self) -> io::Result<T>;
}

impl Options {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets several sockets have the same port (SO_REUSEPORT): each of the group has a name of
    /// its own, and every one of them needs this. The default is no. Not for Unix sockets.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Whether a socket at an IPv6 address leaves the same port of IPv4 alone (IPV6_V6ONLY). The
    /// default is what the machine says.
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    /// How many connections may wait to be accepted. The default is 4096; the machine may have
    /// a lower limit.
    pub fn backlog(mut self, number: u16) -> Self {
        self.backlog = number.into();
        self
    }

    /// Makes a socket.
    ///
    /// A Unix socket whose path a dead process left behind is made in its place.
    ///
    /// # Errors
    /// As socket(2), bind(2) and listen(2). Of several addresses, the error of the last.
    pub fn bind<T>(&self, address: impl BindAddress<T>) -> io::Result<T> {
        address.bind(self)
    }

    fn bind_tcp(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let socket = self.socket(address, SocketType::STREAM)?;
        // As the standard library does: connections of before do not keep the port.
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, self.backlog)?;
        Ok(socket)
    }

    fn bind_udp(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let socket = self.socket(address, SocketType::DGRAM)?;
        bind(&socket, &address)?;
        Ok(socket)
    }

    fn socket(&self, address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if self.reuse_port {
            set_socket_reuseport(&socket, true)?;
        }
        if let (SocketAddr::V6(_), Some(only)) = (address, self.only_v6) {
            set_ipv6_v6only(&socket, only)?;
        }
        Ok(socket)
    }

    fn bind_unix(&self, path: &Path) -> io::Result<OwnedFd> {
        bind_unix::bind(path, SocketType::STREAM, |socket| Ok(listen(socket, self.backlog)?))
    }
}

impl<A: ToSocketAddrs + ?Sized> BindAddress<TcpListener> for A {
    fn bind(&self, options: &Options) -> io::Result<TcpListener> {
        first(self, |address| options.bind_tcp(address)).map(Into::into)
    }

    fn addresses(&self) -> io::Result<Vec<Address>> {
        Ok(self.to_socket_addrs()?.map(Address::Ip).collect())
    }
}

impl<A: ToSocketAddrs + ?Sized> BindAddress<UdpSocket> for A {
    fn bind(&self, options: &Options) -> io::Result<UdpSocket> {
        first(self, |address| options.bind_udp(address)).map(Into::into)
    }

    fn addresses(&self) -> io::Result<Vec<Address>> {
        Ok(self.to_socket_addrs()?.map(Address::Ip).collect())
    }
}

impl<A: AsRef<Path> + ?Sized> BindAddress<UnixListener> for A {
    fn bind(&self, options: &Options) -> io::Result<UnixListener> {
        options.bind_unix(self.as_ref()).map(Into::into)
    }

    fn addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![Address::Path(bind_unix::not_empty(self.as_ref())?.to_owned())])
    }
}

impl<A: AsRef<Path> + ?Sized> BindAddress<UnixDatagram> for A {
    fn bind(&self, _: &Options) -> io::Result<UnixDatagram> {
        bind_unix::bind(self.as_ref(), SocketType::DGRAM, |_| Ok(())).map(Into::into)
    }

    fn addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![Address::Path(bind_unix::not_empty(self.as_ref())?.to_owned())])
    }
}

impl<A: ToSocketAddrs + ?Sized> ConnectAddress<TcpStream> for A {
    fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self)
    }
}

/// From any address and port of this machine.
impl<A: ToSocketAddrs + ?Sized> ConnectAddress<UdpSocket> for A {
    fn connect(&self) -> io::Result<UdpSocket> {
        first(self, |address| {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            Ok(socket)
        })
    }
}

impl<A: AsRef<Path> + ?Sized> ConnectAddress<UnixStream> for A {
    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(bind_unix::not_empty(self.as_ref())?)
    }
}

/// Without a path of its own: what it sends to cannot answer.
impl<A: AsRef<Path> + ?Sized> ConnectAddress<UnixDatagram> for A {
    fn connect(&self) -> io::Result<UnixDatagram> {
        let path = bind_unix::not_empty(self.as_ref())?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(socket)
    }
}

/// Tries one address after the other, as the standard library does.
fn first<T>(
    addresses: &(impl ToSocketAddrs + ?Sized),
    mut make: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let none = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    let mut last = Err(none);
    for address in addresses.to_socket_addrs()? {
        last = make(address);
        if last.is_ok() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_and_udp_have_the_same_port() {
        let both = |_| {
            let tcp: TcpListener = Options::new().bind("127.0.0.1:0").unwrap();
            let address = tcp.local_addr().unwrap();
            let udp: UdpSocket = Options::new().bind(address).ok()?;
            Some((udp.local_addr().unwrap(), address))
        };
        // Somebody else may have that port of UDP, but not again and again.
        let (udp, tcp) = (0..100).find_map(both).unwrap();
        assert_eq!(udp, tcp);
    }

    #[test]
    fn several_sockets_share_a_port_where_each_says_so() {
        let group = Options::new().reuse_port(true);
        let one: TcpListener = group.bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        let two: TcpListener = group.bind(address).unwrap();
        assert_eq!(two.local_addr().unwrap(), address);
        let outsider: io::Result<TcpListener> = Options::new().bind(address);
        assert_eq!(outsider.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn of_several_addresses_the_first_that_can_be_bound_is() {
        let taken: TcpListener = Options::new().bind("127.0.0.1:0").unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = [taken.local_addr().unwrap(), free];
        let bound: TcpListener = Options::new().bind(&addresses[..]).unwrap();
        assert_ne!(bound.local_addr().unwrap(), addresses[0]);
    }

    #[test]
    fn of_many_that_find_a_dead_path_at_once_one_gets_it_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = directory.path().join(round.to_string());
            drop(UnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(4);
            let bound: Vec<UnixListener> = std::thread::scope(|scope| {
                let bind = || {
                    start.wait();
                    Options::new().bind(&path).ok()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(bound.len(), 1, "round {round}");
        }
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let none: &[SocketAddr] = &[];
        let bound: io::Result<TcpListener> = Options::new().bind(none);
        assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
