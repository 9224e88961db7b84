//! Connecting: looks names up, and tries address after address.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

use fdbroker_policy::{ConnectSource, ServerAddress};
use fdbroker_types::escape;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect as connect_to, getpeername, getsockname,
    socket_with, sockopt,
};

use super::answer::{Failure, Step};
use super::patience::Patience;
use super::server_sockets::ServerSockets;

/// The most addresses of one name that are tried.
const MOST_OF_A_NAME: usize = 16;
/// The pause before a Unix socket whose queue is full is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// A socket that is connected to a server.
pub(crate) struct Connected {
    /// It does not block.
    pub(crate) socket: OwnedFd,
    /// Which address answered, as the payload has it.
    pub(crate) peer: String,
    /// `tcp` or `unix`.
    pub(crate) transport: &'static str,
    /// The host as the policy names it, if there is one.
    pub(crate) host: Option<String>,
}

/// Connects to the first address that answers.
///
/// # Errors
/// What was tried, and why each failed.
pub(crate) fn connect(
    source: &ConnectSource,
    sockets: &ServerSockets,
    patience: Patience<'_>,
) -> Result<Connected, Failure> {
    let mut attempts = Attempts::default();
    for address in &source.addresses {
        if let Some(connected) = attempts.of(address, source, sockets, patience) {
            return Ok(connected);
        }
        if patience.is_over() {
            break;
        }
    }
    Err(attempts.failure(patience))
}

/// What was tried in vain.
#[derive(Default)]
struct Attempts {
    texts: Vec<String>,
    connected_somewhere: bool,
    all_timed_out: Option<bool>,
    unit_may_refuse: bool,
}

impl Attempts {
    fn of(
        &mut self,
        address: &ServerAddress,
        source: &ConnectSource,
        sockets: &ServerSockets,
        patience: Patience<'_>,
    ) -> Option<Connected> {
        let ServerAddress::Tcp { host, port } = address else {
            let ServerAddress::Unix(path) = address else { return None };
            let connected = unix(path, source, sockets, patience);
            return self.note(&address.to_string(), true, connected);
        };
        let found = match look_up(host, *port, source.source) {
            Ok(found) => found,
            Err(error) => return self.note(&address.to_string(), false, Err(error)),
        };
        let connected = found.into_iter().find_map(|found| {
            let connected = tcp(found, source, patience);
            self.note(&format!("tcp:{found}"), true, connected)
        })?;
        Some(Connected { host: Some(host.clone()), ..connected })
    }

    fn note(
        &mut self,
        address: &str,
        was_found: bool,
        result: io::Result<Connected>,
    ) -> Option<Connected> {
        let error = match result {
            Ok(connected) => return Some(connected),
            Err(error) => error,
        };
        let timed_out = error.kind() == ErrorKind::TimedOut;
        self.connected_somewhere |= was_found;
        self.all_timed_out = Some(self.all_timed_out.unwrap_or(true) && timed_out);
        self.unit_may_refuse |= may_be_of_the_unit(address, &error);
        let why = if timed_out { "no answer".to_owned() } else { escape(&error.to_string()) };
        self.texts.push(format!("{address}: {why}"));
        None
    }

    fn failure(self, patience: Patience<'_>) -> Failure {
        let step = if self.connected_somewhere { Step::Connect } else { Step::Lookup };
        let timed_out = patience.is_over() || self.all_timed_out == Some(true);
        let cure = if self.unit_may_refuse { NO_NETWORK } else { "" };
        Failure { step, timed_out, text: self.texts.join("; ") + cure }
    }
}

/// What to do where the service manager lets the broker reach no network.
const NO_NETWORK: &str = "; the broker's unit may allow no network: set RestrictAddressFamilies= and \
IPAddressAllow= in a drop-in";

/// Whether it may be the broker's unit that refuses a TCP connection, and no server.
fn may_be_of_the_unit(address: &str, error: &io::Error) -> bool {
    const REFUSALS: [Errno; 3] = [Errno::AFNOSUPPORT, Errno::PERM, Errno::ACCESS];
    let errno = Errno::from_io_error(error);
    address.starts_with("tcp:") && errno.is_some_and(|errno| REFUSALS.contains(&errno))
}

/// Returns the addresses of a host, of the family of `source`.
fn look_up(host: &str, port: u16, source: Option<IpAddr>) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (host, port).to_socket_addrs()?.collect(),
    };
    let is_of_family =
        |address: &SocketAddr| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
    let usable: Vec<_> = found.into_iter().filter(is_of_family).take(MOST_OF_A_NAME).collect();
    if usable.is_empty() {
        return Err(io::Error::other("it has no address of the family of `source`"));
    }
    Ok(usable)
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

fn tcp(
    address: SocketAddr,
    source: &ConnectSource,
    patience: Patience<'_>,
) -> io::Result<Connected> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    if let Some(from) = source.source {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    set_options(&socket, source)?;
    match connect_to(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            patience.at_most(source.connect_timeout).wait(&socket, PollFlags::OUT)?;
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    refuse_oneself(&socket)?;
    Ok(Connected { socket, peer: format!("tcp:{address}"), transport: "tcp", host: None })
}

fn set_options(socket: &OwnedFd, source: &ConnectSource) -> io::Result<()> {
    // The kernel counts in whole seconds, from 1 on.
    let idle = Duration::from_secs(source.keep_alive.as_secs().max(1));
    let unacknowledged = u32::try_from(source.user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_user_timeout(socket, unacknowledged)?;
    Ok(sockopt::set_tcp_nodelay(socket, true)?)
}

/// A port of this machine to which nobody listens can be connected to itself, if the kernel chooses it as the
/// source.
fn refuse_oneself(socket: &OwnedFd) -> io::Result<()> {
    if getsockname(socket)? == getpeername(socket)?.ok_or(Errno::NOTCONN)? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

fn unix(
    path: &str,
    source: &ConnectSource,
    sockets: &ServerSockets,
    patience: Patience<'_>,
) -> io::Result<Connected> {
    let patience = patience.at_most(source.connect_timeout);
    let address = sockets.address(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    // Where its queue is full, a socket of this family does not connect later.
    while let Err(error) = connect_to(&socket, &address) {
        if error != Errno::AGAIN {
            return Err(error.into());
        }
        patience.pause(RETRY)?;
    }
    sockets.refuse_others(path, &socket)?;
    Ok(Connected { socket, peer: format!("unix:{path}"), transport: "unix", host: None })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn source(addresses: Vec<ServerAddress>) -> ConnectSource {
        ConnectSource {
            addresses,
            source: None,
            connect_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(60),
            user_timeout: Duration::from_secs(60),
            tls: None,
            auth: None,
        }
    }

    fn local(port: u16) -> ServerAddress {
        ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    fn unused_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// What comes of it within a time.
    fn connected(source: &ConnectSource, within: Duration) -> Result<Connected, Failure> {
        let (link, _supervisor) = UnixStream::pair().unwrap();
        connect(source, &ServerSockets::default(), Patience::new(link.as_fd(), within))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_address_that_answers_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server").to_str().unwrap().to_owned();
        let _server = UnixListener::bind(&path).unwrap();
        let addresses = vec![
            local(unused_port()),
            ServerAddress::Unix(format!("{path}.other")),
            ServerAddress::Unix(path.clone()),
        ];
        let connected = connected(&source(addresses), LONG).unwrap();
        assert_eq!((connected.peer, connected.transport), (format!("unix:{path}"), "unix"));
    }

    #[test]
    fn a_tcp_socket_has_its_options_and_its_source() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let from = ConnectSource {
            source: Some("127.0.0.2".parse().unwrap()),
            keep_alive: Duration::from_millis(2500),
            user_timeout: Duration::from_millis(1234),
            ..source(vec![local(address.port())])
        };
        let connected = connected(&from, LONG).unwrap();
        assert_eq!(connected.peer, format!("tcp:{address}"));
        assert_eq!(server.accept().unwrap().1.ip(), from.source.unwrap());
        assert!(sockopt::socket_keepalive(&connected.socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&connected.socket).unwrap(), Duration::from_secs(2));
        assert_eq!(sockopt::tcp_user_timeout(&connected.socket).unwrap(), 1234);
    }

    #[test]
    fn every_address_that_failed_is_named() {
        let (one, other) = (unused_port(), unused_port());
        let failure = connected(&source(vec![local(one), local(other)]), LONG).err().unwrap();
        assert_eq!((failure.step, failure.timed_out), (Step::Connect, false));
        let refused = |port| format!("tcp:127.0.0.1:{port}: Connection refused (os error 111)");
        assert_eq!(failure.text, format!("{}; {}", refused(one), refused(other)));
    }

    #[test]
    fn what_the_unit_may_refuse_has_its_cure() {
        let failure = |address: &str, errno: Errno| {
            let mut attempts = Attempts::default();
            attempts.note(address, true, Err(errno.into()));
            let (link, _supervisor) = UnixStream::pair().unwrap();
            attempts.failure(Patience::new(link.as_fd(), LONG)).text
        };
        for errno in [Errno::AFNOSUPPORT, Errno::PERM, Errno::ACCESS] {
            let text = failure("tcp:192.0.2.1:5432", errno);
            assert!(text.ends_with(NO_NETWORK), "{text}");
        }
        assert!(!failure("tcp:192.0.2.1:5432", Errno::CONNREFUSED).contains("unit"));
        assert!(!failure("unix:/run/server", Errno::ACCESS).contains("unit"));
    }

    #[test]
    fn an_address_of_another_family_than_the_source_is_not_tried() {
        let v6 = Some("::1".parse().unwrap());
        let from = ConnectSource { source: v6, ..source(vec![local(1)]) };
        let failure = connected(&from, LONG).err().unwrap();
        assert_eq!(failure.step, Step::Lookup);
        assert!(failure.text.ends_with("no address of the family of `source`"), "{failure:?}");
    }

    #[test]
    fn a_full_queue_is_waited_for_until_the_time_is_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server");
        let server = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let full = ServerAddress::Unix(path.to_str().unwrap().to_owned());
        let source = source(vec![full]);
        let _first = connected(&source, LONG).unwrap();
        let failure = connected(&source, Duration::from_millis(50)).err().unwrap();
        assert!(failure.timed_out && failure.text.ends_with(": no answer"), "{failure:?}");
        server.accept().unwrap();
        connected(&source, LONG).unwrap();
    }
}
