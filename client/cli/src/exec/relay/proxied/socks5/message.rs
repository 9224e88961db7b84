//! What a client of SOCKS5 says (RFC 1928), and what it is answered.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
/// The method of a client that proves nothing.
const NO_PASSWORD: u8 = 0;
/// The answer to a client that does not offer it.
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The answer to a request, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    Connected = 0,
    /// The broker has no session.
    Failed = 1,
    /// The session leads to another server.
    NotAllowed = 2,
    NoSuchCommand = 7,
    NoSuchAddress = 8,
}

impl Reply {
    /// The message. The address that the proxy connects from is not told.
    pub(super) fn message(self) -> [u8; 10] {
        let mut message = [0; 10];
        let [version, reply, _, kind, ..] = &mut message;
        (*version, *reply, *kind) = (VERSION, self as u8, IPV4);
        message
    }
}

/// Reads both messages of a client, and answers the first. Returns the server that it asks for, as `HOST:PORT`.
pub(super) async fn read(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<Result<String, Reply>> {
    greet(client).await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    check_version(version)?;
    let host = match kind {
        IPV4 => Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
        IPV6 => format!("[{}]", Ipv6Addr::from_bits(client.read_u128().await?)),
        NAME => String::from_utf8_lossy(&counted(client).await?).into_owned(),
        _ => return Ok(Err(Reply::NoSuchAddress)),
    };
    let port = client.read_u16().await?;
    Ok(if command == CONNECT { Ok(format!("{host}:{port}")) } else { Err(Reply::NoSuchCommand) })
}

async fn greet(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    check_version(client.read_u8().await?)?;
    if counted(client).await?.contains(&NO_PASSWORD) {
        return client.write_all(&[VERSION, NO_PASSWORD]).await;
    }
    client.write_all(&[VERSION, NO_METHOD]).await?;
    Err(io::ErrorKind::Unsupported.into())
}

fn check_version(version: u8) -> io::Result<()> {
    if version == VERSION { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Reads a length, and so many bytes.
async fn counted(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    /// What a client asks for that says this, and what it hears before.
    fn read_all(said: &[u8]) -> (io::Result<Result<String, Reply>>, Vec<u8>) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, mut server) = tokio::io::duplex(1024);
            client.write_all(said).await.unwrap();
            client.shutdown().await.unwrap();
            let asked = read(&mut server).await;
            drop(server);
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            (asked, heard)
        })
    }

    fn asked(request: &[u8]) -> Result<String, Reply> {
        let (asked, heard) = read_all(&[b"\x05\x02\x02\x00", request].concat());
        assert_eq!(heard, [VERSION, NO_PASSWORD]);
        asked.unwrap()
    }

    #[test]
    fn a_server_is_asked_for_by_name_or_address() {
        let name = b"\x05\x01\x00\x03\x0bexample.net\x01\xbb";
        assert_eq!(asked(name), Ok("example.net:443".to_owned()));
        assert_eq!(asked(b"\x05\x01\0\x01\xc0\0\x02\x07\0\x50"), Ok("192.0.2.7:80".to_owned()));
        let address = [&b"\x05\x01\0\x04"[..], &[0; 15], b"\x01\0\x50"].concat();
        assert_eq!(asked(&address), Ok("[::1]:80".to_owned()));
    }

    #[test]
    fn other_requests_are_refused() {
        assert_eq!(asked(b"\x05\x02\0\x01\xc0\0\x02\x07\0\x50"), Err(Reply::NoSuchCommand));
        assert_eq!(asked(b"\x05\x01\0\x09"), Err(Reply::NoSuchAddress));
        assert_eq!(Reply::NotAllowed.message(), *b"\x05\x02\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn a_client_of_another_protocol_is_left() {
        let (asked, heard) = read_all(b"\x05\x01\x02");
        assert!(asked.is_err() && heard == [VERSION, NO_METHOD]);
        for said in [&b"\x04\x01"[..], b"GET / HTTP/1.1", b"\x05\x01\x00\x04\x01\0\x01", b""] {
            assert!(read_all(said).0.is_err(), "{}", String::from_utf8_lossy(said));
        }
    }
}
