//! One end of a connection, which knows how far it is.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::numbered::{Way, byte};

/// How many bytes went each way, as one end has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes that it wrote.
    pub sent: u64,
    /// Bytes that it read.
    pub received: u64,
}

/// One end.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    connection: u32,
    sends: Way,
    position: Position,
}

impl Stream {
    /// The end of the connection of this number that sends this way, at this position.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn new(
        socket: TcpStream,
        connection: u32,
        sends: Way,
        position: Position,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, connection, sends, position })
    }

    /// How far it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Sends so many bytes, or fewer if there is no room.
    ///
    /// # Errors
    /// As write(2).
    pub fn send(&mut self, count: usize) -> io::Result<()> {
        let numbers = self.position.sent..;
        let bytes = numbers.take(count).map(|it| byte(self.connection, self.sends, it));
        let bytes: Vec<u8> = bytes.collect();
        match self.socket.write(&bytes) {
            Ok(sent) => self.position.sent += sent as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads what there is, and looks at each byte.
    ///
    /// # Errors
    /// As read(2); when the other end has closed, or a byte is another one.
    pub fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.look(&bytes[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        for found in bytes {
            let number = self.position.received;
            if *found != byte(self.connection, self.sends.back(), number) {
                return Err(io::Error::other(format!("byte {number} is {found:#x}")));
            }
            self.position.received += 1;
        }
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
