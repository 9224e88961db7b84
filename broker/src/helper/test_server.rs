//! A server at the other end of a log-in, as the tests and the fuzz target need it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fdbroker_policy::Auth;
use fdbroker_wire::ConnectionWriter;
use rustix::io::ioctl_fionbio;
use rustix::net::{Shutdown, shutdown};

use super::answer::{Failure, Step};
use super::log_in::{add_early, log_in, too_large};
use super::patience::Patience;
use super::secret::Secret;
use super::stream::Stream;

/// How long a log-in may take, which has nothing to wait for.
const TIME: Duration = Duration::from_secs(60);

/// What comes of a log-in: the payload, or why there is none.
pub(super) type Outcome = Result<Vec<u8>, Failure>;

/// Logs in to the server at the other end of a socket.
///
/// # Errors
/// Why not.
pub(super) fn log_in_over(
    socket: impl Into<OwnedFd>,
    auth: &Auth,
    password: Option<&[u8]>,
) -> Outcome {
    let secret = password.map(Secret::for_a_test);
    let mut writer = ConnectionWriter::new(auth.protocol()).map_err(too_large)?;
    over(socket, |stream| {
        log_in(auth, secret.as_ref(), stream, &mut writer)?;
        add_early(stream.rest(), &mut writer)
    })?;
    Ok(writer.finish().into_vec())
}

/// Does something with the server at the other end of a socket.
///
/// # Errors
/// As that does.
pub(super) fn over(
    socket: impl Into<OwnedFd>,
    ask: impl FnOnce(&mut Stream<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let begins = |error: io::Error| Failure::new(Step::Begin, error.to_string());
    let (link, _supervisor) = UnixStream::pair().map_err(begins)?;
    let socket = socket.into();
    ioctl_fionbio(&socket, true).map_err(|error| begins(error.into()))?;
    let result = ask(&mut Stream::new(&socket, Patience::new(link.as_fd(), TIME)));
    // A server that still writes is not to wait.
    let _ = shutdown(&socket, Shutdown::Both);
    result
}

/// Logs in to a server that does this at its end.
#[cfg(test)]
pub(super) fn log_in_to(
    auth: &Auth,
    password: Option<&[u8]>,
    serve: impl FnOnce(UnixStream) + Send,
) -> Outcome {
    let (socket, server) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(server));
        log_in_over(socket, auth, password)
    })
}

/// Logs in to a server that sends these bytes and no more. Returns also what it was sent.
#[cfg(test)]
pub(super) fn log_in_to_sender(
    auth: &Auth,
    password: Option<&[u8]>,
    sent: &[u8],
) -> (Outcome, Vec<u8>) {
    use std::io::{Read, Write};

    let mut received = Vec::new();
    let outcome = log_in_to(auth, password, |mut server| {
        // The client may have stopped reading.
        let _ = server.write_all(sent);
        let _ = server.shutdown(std::net::Shutdown::Write);
        let _ = server.read_to_end(&mut received);
    });
    (outcome, received)
}

/// Asks a server for TLS that sends these bytes and no more. Returns also what it was sent.
#[cfg(test)]
pub(super) fn ask_a_sender(
    sent: &[u8],
    ask: impl FnOnce(&mut Stream<'_>) -> Result<(), Failure>,
) -> (Result<(), Failure>, Vec<u8>) {
    use std::io::{Read, Write};

    let (socket, mut server) = UnixStream::pair().unwrap();
    server.write_all(sent).unwrap();
    server.shutdown(std::net::Shutdown::Write).unwrap();
    let outcome = over(socket, ask);
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    (outcome, received)
}

/// Forms in which a server can repeat the password `geheim`, or a part of it.
#[cfg(test)]
pub(super) fn forms() -> [&'static str; 10] {
    [
        "geheim",
        "GEHEIM",
        "mieheg",
        "gehei",
        "g e h e i m",
        "Z2VoZWlt",
        // With a user before it, and without padding.
        "bWU6Z2VoZWlt",
        "AHVzZXIAZ2VoZWlt",
        "67656865696d",
        "%67%65%68%65%69%6d",
    ]
}
