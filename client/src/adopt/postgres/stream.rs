//! A stream for clients that log in by themselves, such as tokio-postgres: it answers their start-up from the
//! payload, and then it is the socket.

use std::io;
use std::os::unix::net;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use fdbroker_wire::Connection;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::answer::PROTOCOL;
use super::exchange::{Exchange, Phase};
use crate::Deposit;

/// How much is read of the server at once while it sets what the client asks for.
const CHUNK: usize = 4096;

/// A session that a broker has logged in, as a stream for a client that expects to log in.
///
/// The client is answered as by a server that asks for no password. Requests for encryption are declined. Another
/// user or database than the session's, replication and `options` are refused. Other settings, such as
/// `application_name`, are made in the session. The session ends when this is dropped.
#[derive(Debug)]
pub struct Adopted {
    socket: UnixStream,
    exchange: Exchange,
    /// Who waits for an answer while the client has not asked.
    reader: Option<Waker>,
}

impl Adopted {
    /// Makes a stream of what GET has returned. Call it within a runtime of tokio.
    ///
    /// # Errors
    /// If the deposit is no connection to a PostgreSQL server, or the runtime does not take the socket.
    pub fn new(deposit: Deposit) -> io::Result<Self> {
        let is_session = deposit.connection().is_some_and(|it| it.protocol() == PROTOCOL);
        let descriptor = deposit.descriptor.filter(|_| is_session).ok_or_else(|| {
            let text = "the deposit is no connection to a PostgreSQL server";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        // Nothing is done with it that depends on its family.
        let socket = net::UnixStream::from(descriptor);
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        Ok(Self { socket, exchange: Exchange::new(deposit.payload), reader: None })
    }

    /// Returns what the session is. `text("user")` of it is the user whom the client has to name.
    #[must_use]
    pub fn connection(&self) -> Option<Connection<'_>> {
        self.exchange.connection()
    }

    /// Writes what comes before anything else of the client.
    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.exchange.to_server.is_empty() {
            let socket = Pin::new(&mut self.socket);
            let written = ready!(socket.poll_write(context, &self.exchange.to_server))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.exchange.to_server.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the server says of the settings.
    fn poll_settings(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(self.exchange.server_says(buffer.filled()))
    }
}

impl AsyncRead for Adopted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.exchange.to_client.is_empty() {
            match this.exchange.phase {
                Phase::Open => return Pin::new(&mut this.socket).poll_read(context, buffer),
                Phase::Refused => return Poll::Ready(Ok(())),
                Phase::Begins => {
                    this.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Phase::Sets => {
                    ready!(this.poll_own(context))?;
                    ready!(this.poll_settings(context))?;
                }
            }
        }
        let length = this.exchange.to_client.len().min(buffer.remaining());
        buffer.put_slice(this.exchange.to_client.get(..length).unwrap_or_default());
        this.exchange.to_client.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Adopted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.exchange.phase {
            Phase::Begins => {
                this.exchange.client_says(bytes)?;
                if let Some(reader) = this.reader.take() {
                    reader.wake();
                }
                Poll::Ready(Ok(bytes.len()))
            }
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Phase::Sets | Phase::Open => {
                ready!(this.poll_own(context))?;
                Pin::new(&mut this.socket).poll_write(context, bytes)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // The broker may have a duplicate. The server may have ended it.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}
