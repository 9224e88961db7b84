//! SOCKS5 for programs that take a proxy: a client may ask for the one server that the session leads to.
//!
//! The proxy has been logged in to, and has connected. What a client asks for is compared, and then bytes are copied
//! both ways.

mod message;

use std::io;
use std::time::Duration;

use fdbroker::Connection;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::directory::Directory;
use super::program::Environment;
use super::sessions::{Session, Sessions};
use super::target::Target;
use super::url;
use crate::terminal;
use message::Reply;

/// The name of the protocol.
pub(super) const NAME: &str = "socks5";
/// The name of the socket.
pub(super) const SOCKET: &str = "socks5.sock";
/// How long a client may take for its request.
const START_UP: Duration = Duration::from_secs(60);
/// What curl takes before the path of a proxy's socket.
const URL: &str = "socks5h://localhost";
/// Variables that count before ALL_PROXY, or except servers from it.
const REMOVED: [&str; 7] =
    ["all_proxy", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];

/// Sets what leads curl to the socket.
pub(super) fn set(directory: &Directory, prefix: &str, environment: &mut Environment) {
    let url = url::with_path(URL, &directory.join(SOCKET));
    environment.set(format!("{prefix}ALL_PROXY"), url);
    for removed in REMOVED {
        environment.remove(format!("{prefix}{removed}"));
    }
}

/// What the connections to one socket share.
pub(super) struct Server {
    sessions: Sessions,
    target: Option<Target>,
}

impl Server {
    pub(super) fn new(sessions: Sessions) -> Self {
        let target = sessions.first_connection(Target::of).flatten();
        Self { sessions, target }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let asked = timeout(START_UP, message::read(&mut client)).await??;
        let session = match asked {
            Ok(asked) => self.session(&asked).await,
            Err(refusal) => Err(refusal),
        };
        match session {
            Ok(session) => relay(client, &session).await,
            Err(refusal) => client.write_all(&refusal.message()).await,
        }
    }

    /// Gets a session, which must lead to the server that the client asks for.
    async fn session(&self, asked: &str) -> Result<Session, Reply> {
        let leads_there = |target: &Option<Target>| target.as_ref().is_some_and(|it| it.is(asked));
        // One that is refused takes no session.
        if !leads_there(&self.target) {
            return Err(Reply::NotAllowed);
        }
        let session = self.sessions.next().await.map_err(|error| {
            // SOCKS5 has no words for it.
            terminal::complain(format_args!("fdbroker: {error}"));
            Reply::Failed
        })?;
        let target = session.connection().and_then(Target::of);
        if leads_there(&target) { Ok(session) } else { Err(Reply::Failed) }
    }
}

async fn relay(mut client: UnixStream, session: &Session) -> io::Result<()> {
    let mut socket = session.socket()?;
    let early = session.connection().map(Connection::early).unwrap_or_default();
    client.write_all(&[&Reply::Connected.message(), early].concat()).await?;
    copy_bidirectional(&mut client, &mut socket).await.map(drop)
}
