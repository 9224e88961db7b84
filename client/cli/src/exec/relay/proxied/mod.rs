//! A server behind a proxy, for programs that take a proxy: a client may ask for the one server that the session leads
//! to.
//!
//! The proxy has been logged in to, and has connected. What a client asks for is compared, and then bytes are copied
//! both ways. How a client asks, and how it is refused, is a file for each kind of [`Proxy`].

pub(super) mod http_proxy;
pub(super) mod socks5;
mod target;

use std::io;
use std::marker::PhantomData;

use fdbroker::Connection;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::both_ways;
use super::no_session::NoSession;
use super::session::Session;
use super::sessions::Sessions;
use super::start_up::in_time;
use target::Target;

/// A kind of proxy, as clients speak to it.
pub(super) trait Proxy {
    /// Reads what a client asks for. In its place there can be the answer to one that asks for something else.
    fn read(
        client: &mut UnixStream,
    ) -> impl Future<Output = io::Result<Result<Asked, Vec<u8>>>> + Send;

    /// The answer to a client that gets its connection.
    fn connected() -> Vec<u8>;

    /// The answer to a client that gets none.
    fn refusal(why: &Refusal) -> Vec<u8>;
}

/// What a client asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Asked {
    /// The server, as `HOST:PORT`.
    target: String,
    /// What the client has sent after that.
    rest: Vec<u8>,
}

/// Why a client gets no connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The session leads to another server.
    OtherServer,
    /// The broker has none.
    NoSession(NoSession),
}

/// What the connections to one socket, or one port, share.
pub(super) struct Server<P> {
    sessions: Sessions,
    target: Option<Target>,
    proxy: PhantomData<P>,
}

impl<P: Proxy> Server<P> {
    pub(super) fn new(sessions: Sessions) -> Self {
        let target = sessions.first_connection(Target::of).flatten();
        Self { sessions, target, proxy: PhantomData }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let asked = match in_time(P::read(&mut client)).await? {
            Ok(asked) => asked,
            Err(answer) => return client.write_all(&answer).await,
        };
        match self.session(&asked.target).await {
            Ok(session) => relay::<P>(client, &session, &asked.rest).await,
            Err(refusal) => client.write_all(&P::refusal(&refusal)).await,
        }
    }

    /// Gets a session, which must lead to the server that the client asks for.
    async fn session(&self, asked: &str) -> Result<Session, Refusal> {
        let leads_there = |target: &Option<Target>| target.as_ref().is_some_and(|it| it.is(asked));
        // One that is refused takes no session.
        if !leads_there(&self.target) {
            return Err(Refusal::OtherServer);
        }
        let session = self.sessions.next().await.map_err(Refusal::NoSession)?;
        let target = session.connection().and_then(Target::of);
        if leads_there(&target) { Ok(session) } else { Err(Refusal::OtherServer) }
    }
}

async fn relay<P: Proxy>(mut client: UnixStream, session: &Session, rest: &[u8]) -> io::Result<()> {
    let mut socket = session.socket()?;
    let early = session.connection().map(Connection::early).unwrap_or_default();
    client.write_all(&[&P::connected(), early].concat()).await?;
    socket.write_all(rest).await?;
    both_ways::copy(client, socket).await
}
