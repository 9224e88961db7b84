//! An HTTP proxy for programs that take one: a client may ask by CONNECT for the one server that the session leads to.
//!
//! The proxy has been logged in to, and has connected. What a client asks for is compared, and then bytes are copied
//! both ways.

mod request;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fdbroker::Connection;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::program::Environment;
use super::sessions::{Session, Sessions};
use super::target::Target;
use request::{Refusal, Request};

/// The name of the protocol.
pub(super) const NAME: &str = "http-proxy";
/// How long a client may take for its request.
const START_UP: Duration = Duration::from_secs(60);
/// The variables that programs read for a server that is spoken to by TLS.
const VARIABLES: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
/// Those that except servers from it.
const REMOVED: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Sets what leads a program to the port.
pub(super) fn set(port: Option<SocketAddr>, prefix: &str, environment: &mut Environment) {
    let url = port.map(|port| format!("http://{port}")).unwrap_or_default();
    for name in VARIABLES {
        environment.set(format!("{prefix}{name}"), &url);
    }
    for removed in REMOVED {
        environment.remove(format!("{prefix}{removed}"));
    }
}

/// What the connections to one port share.
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
        let asked = timeout(START_UP, request::read(&mut client)).await??;
        let session = match asked {
            Ok(asked) => self.session(&asked).await.map(|session| (session, asked)),
            Err(refusal) => Err(refusal),
        };
        match session {
            Ok((session, asked)) => relay(client, &session, &asked).await,
            Err(refusal) => client.write_all(refusal.message().as_bytes()).await,
        }
    }

    /// Gets a session, which must lead to the server that the client asks for.
    async fn session(&self, asked: &Request) -> Result<Session, Refusal> {
        let leads_there =
            |target: &Option<Target>| target.as_ref().is_some_and(|it| it.is(&asked.target));
        // One that is refused takes no session.
        if !leads_there(&self.target) {
            return Err(Refusal::other_server());
        }
        let session = self.sessions.next().await;
        let session = session.map_err(|error| Refusal::no_session(&error))?;
        let target = session.connection().and_then(Target::of);
        if leads_there(&target) { Ok(session) } else { Err(Refusal::other_server()) }
    }
}

async fn relay(mut client: UnixStream, session: &Session, asked: &Request) -> io::Result<()> {
    let mut socket = session.socket()?;
    let early = session.connection().map(Connection::early).unwrap_or_default();
    client.write_all(&[request::CONNECTED.as_bytes(), early].concat()).await?;
    socket.write_all(&asked.rest).await?;
    copy_bidirectional(&mut client, &mut socket).await.map(drop)
}
