//! What the fuzz targets reach of a helper; there only when it is built for them.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fdbroker_policy::{Auth, PostgresAuth, PostgresMethod, ProxyAuth, ProxyTarget, RedisAuth};
use fdbroker_wire::ConnectionWriter;

use super::log_in;
use super::patience::Patience;
use super::secret::Secret;
use super::stream::Stream;

/// How long a log-in may take, which has nothing to wait for.
const TIME: Duration = Duration::from_secs(60);

/// Returns the payload that comes of a log-in to a server that sends these bytes, as far as a socket's buffer has
/// room for them, and reads nothing; `None` if it fails. The first byte is not sent: it says of which kind it is.
#[must_use]
pub fn log_in(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, sent) = data.split_first()?;
    let auth = auth(*kind)?;
    let (link, _supervisor) = UnixStream::pair().ok()?;
    let (socket, mut server) = UnixStream::pair().ok()?;
    socket.set_nonblocking(true).ok()?;
    server.set_nonblocking(true).ok()?;
    // What does not fit is as good as not sent.
    let _ = server.write(sent);
    server.shutdown(Shutdown::Write).ok()?;
    let secret = Secret::for_a_test(b"secret");
    let socket = OwnedFd::from(socket);
    let mut stream = Stream::new(&socket, Patience::new(link.as_fd(), TIME));
    let mut writer = ConnectionWriter::new(auth.name()).ok()?;
    log_in::log_in(&auth, Some(&secret), &mut stream, &mut writer).ok()?;
    Some(writer.finish().into_vec())
}

/// The kind of log-in that a letter stands for.
fn auth(kind: u8) -> Option<Auth> {
    Some(match kind {
        b'p' => Auth::Postgres(PostgresAuth {
            user: "user".to_owned(),
            database: "database".to_owned(),
            password: None,
            methods: PostgresMethod::ALL.to_vec(),
        }),
        b'r' => Auth::Redis(redis()),
        b's' => Auth::Socks5(proxy()),
        _ => return None,
    })
}

fn redis() -> RedisAuth {
    RedisAuth { user: None, password: None, database: 1, client_name: Some("name".to_owned()) }
}

fn proxy() -> ProxyAuth {
    ProxyAuth {
        target: ProxyTarget { host: "host".to_owned(), port: 80 },
        user: Some("user".to_owned()),
        password: None,
    }
}
