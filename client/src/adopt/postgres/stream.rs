//! A stream for clients that log in by themselves, such as tokio-postgres: it answers their start-up from the
//! payload, and then it is the socket.

use std::io;
use std::os::unix::net;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fdbroker_wire::Connection;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::answer::PROTOCOL;
use super::exchange::{Exchange, Phase};
use super::halves::Halves;
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
    /// Until the session is open, each half goes on with what the other one has begun.
    halves: Arc<Halves>,
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
        Ok(Self { socket, exchange: Exchange::new(deposit.payload), halves: Arc::default() })
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

    /// The same, for the half that writes.
    fn poll_own_to_write(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.to_server.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let both = self.halves.with_writer(context.waker());
        let done = ready!(self.poll_own(&mut Context::from_waker(&both)));
        self.halves.wake_reader();
        Poll::Ready(done)
    }

    /// Takes what the client says first. The other half has an answer then.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let heard = self.exchange.client_says(bytes);
        if heard.is_err() {
            self.exchange.phase = Phase::Refused;
        }
        self.halves.wake_reader();
        heard
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
        if this.exchange.is_through() {
            return Pin::new(&mut this.socket).poll_read(context, buffer);
        }
        while this.exchange.to_client.is_empty() {
            let both = this.halves.with_reader(context.waker());
            let mut both = Context::from_waker(&both);
            match this.exchange.phase {
                Phase::Open => {
                    // What comes of the server does not wait for that.
                    if let Poll::Ready(done) = this.poll_own(&mut both) {
                        done?;
                    }
                    return Pin::new(&mut this.socket).poll_read(context, buffer);
                }
                Phase::Refused => return Poll::Ready(Ok(())),
                Phase::Begins => return Poll::Pending,
                Phase::Sets => {
                    ready!(this.poll_own(&mut both))?;
                    ready!(this.poll_settings(&mut both))?;
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
                this.hear(bytes)?;
                Poll::Ready(Ok(bytes.len()))
            }
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Phase::Sets | Phase::Open => {
                ready!(this.poll_own_to_write(context))?;
                Pin::new(&mut this.socket).poll_write(context, bytes)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own_to_write(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.exchange.phase == Phase::Begins {
            // A client that has asked for nothing: there is nothing to answer any more.
            this.exchange.phase = Phase::Refused;
            this.halves.wake_reader();
        }
        ready!(this.poll_own_to_write(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // The broker may have a duplicate. The server may have ended it.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use fdbroker_wire::ConnectionWriter;
    use fdbroker_wire::connection::{DATABASE, USER};

    use super::*;

    /// A task that was woken, or not.
    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Task {
        fn waker(self: &Arc<Self>) -> Waker {
            Arc::clone(self).into()
        }

        async fn is_woken(&self) {
            let woken = async {
                while !self.0.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), woken).await.expect("it is woken");
        }
    }

    /// A session, and the server's end.
    fn adopted() -> (Adopted, net::UnixStream) {
        let mut writer = ConnectionWriter::new(PROTOCOL).unwrap();
        writer.add(USER, "orders").unwrap();
        writer.add(DATABASE, "shop").unwrap();
        let (ours, server) = net::UnixStream::pair().unwrap();
        let payload = writer.finish().to_vec();
        let deposit = Deposit { descriptor: Some(ours.into()), ufd: 3, payload };
        (Adopted::new(deposit).unwrap(), server)
    }

    fn read(adopted: &mut Adopted, task: &Arc<Task>) -> Poll<usize> {
        let mut bytes = [0; 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        let waker = task.waker();
        let read = Pin::new(adopted).poll_read(&mut Context::from_waker(&waker), &mut buffer);
        read.map(|read| read.map(|()| buffer.filled().len()).unwrap())
    }

    fn write(adopted: &mut Adopted, task: &Arc<Task>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waker = task.waker();
        Pin::new(adopted).poll_write(&mut Context::from_waker(&waker), bytes)
    }

    fn startup_message() -> Vec<u8> {
        let text = b"user\0orders\0database\0shop\0application_name\0x\0\0";
        let length = u32::try_from(text.len() + 8).unwrap();
        [&length.to_be_bytes(), &[0, 3, 0, 0][..], text].concat()
    }

    /// Writes until the server has no more room; returns how much.
    fn fill(socket: &UnixStream) -> usize {
        let mut filled = 0;
        while let Ok(written) = socket.try_write(&[0; 4096]) {
            filled += written;
        }
        filled
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reader_is_woken_also_if_the_writer_has_waited_since() {
        let (mut adopted, mut server) = adopted();
        adopted.socket.writable().await.unwrap();
        let filled = fill(&adopted.socket);
        let [reader, writer] = [(); 2].map(|()| Arc::new(Task::default()));
        let said = startup_message();
        assert!(write(&mut adopted, &writer, &said).is_ready());
        assert!(read(&mut adopted, &reader).is_ready(), "what is known is answered at once");
        assert!(read(&mut adopted, &reader).is_pending(), "the settings are not sent yet");
        assert!(write(&mut adopted, &writer, b"more").is_pending());
        let mut heard = vec![0; filled];
        server.read_exact(&mut heard).unwrap();
        reader.is_woken().await;
        // The writer never comes back.
        let reader = Arc::new(Task::default());
        assert!(read(&mut adopted, &reader).is_pending(), "the server has not answered");
        let mut kind = [0];
        server.read_exact(&mut kind).unwrap();
        assert_eq!(&kind, b"Q");
        server.write_all(b"Z\0\0\0\x05I").unwrap();
        reader.is_woken().await;
        assert_eq!(read(&mut adopted, &reader), Poll::Ready(6));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reader_hears_that_the_client_has_left_or_makes_no_sense() {
        for leaves in [true, false] {
            let (mut adopted, _server) = adopted();
            let [reader, writer] = [(); 2].map(|()| Arc::new(Task::default()));
            assert!(read(&mut adopted, &reader).is_pending());
            if leaves {
                let waker = writer.waker();
                let shut = Pin::new(&mut adopted).poll_shutdown(&mut Context::from_waker(&waker));
                assert!(shut.is_ready());
            } else {
                let Poll::Ready(Err(_)) = write(&mut adopted, &writer, b"GET / HTTP/1.1") else {
                    panic!("it is none of the protocol")
                };
            }
            reader.is_woken().await;
            assert_eq!(read(&mut adopted, &reader), Poll::Ready(0));
        }
    }
}
