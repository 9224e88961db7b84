//! What a SOCKS5 proxy answers to the request to connect.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message::{IPV4, IPV6, NAME, VERSION};
use crate::helper::answer::{Failure, Step};
use crate::helper::stream::Stream;

/// What the numbers of a refusal mean (RFC 1928), from 1 on.
const REFUSALS: [&str; 8] = [
    "general failure",
    "its rules do not allow the connection",
    "network unreachable",
    "host unreachable",
    "connection refused",
    "TTL expired",
    "it does not support CONNECT",
    "it does not support this type of address",
];

/// Takes the answer; returns the address that the proxy connects from.
///
/// # Errors
/// Why the proxy does not connect.
pub(super) fn take(stream: &mut Stream<'_>) -> Result<String, Failure> {
    let head = stream.take(4)?;
    match *stream.bytes(head) {
        [VERSION, 0, 0, kind] => bound(stream, kind),
        [VERSION, refusal @ 1..=u8::MAX, 0, _] => Err(refused(refusal)),
        _ => Err(malformed("reply")),
    }
}

fn bound(stream: &mut Stream<'_>, kind: u8) -> Result<String, Failure> {
    match kind {
        IPV4 => {
            let (host, port) = address::<4>(stream)?;
            Ok(SocketAddr::new(Ipv4Addr::from(host).into(), port).to_string())
        }
        IPV6 => {
            let (host, port) = address::<16>(stream)?;
            Ok(SocketAddr::new(Ipv6Addr::from(host).into(), port).to_string())
        }
        NAME => name(stream),
        _ => Err(malformed("reply")),
    }
}

fn address<const LENGTH: usize>(stream: &mut Stream<'_>) -> Result<([u8; LENGTH], u16), Failure> {
    let host = stream.take(LENGTH)?;
    let host = stream.bytes(host).try_into().map_err(|_| malformed("reply"))?;
    Ok((host, port(stream)?))
}

/// A name, which the proxy may have made up: only letters, digits and what else a name has.
fn name(stream: &mut Stream<'_>) -> Result<String, Failure> {
    let length = stream.take(1)?;
    let length = stream.bytes(length).first().copied().unwrap_or_default();
    let host = stream.take(usize::from(length))?;
    let host = str::from_utf8(stream.bytes(host)).unwrap_or_default().to_owned();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(malformed("reply"));
    }
    Ok(format!("{host}:{}", port(stream)?))
}

fn port(stream: &mut Stream<'_>) -> Result<u16, Failure> {
    let port = stream.take(2)?;
    let port = stream.bytes(port).try_into().map_err(|_| malformed("reply"))?;
    Ok(u16::from_be_bytes(port))
}

fn refused(number: u8) -> Failure {
    let index = usize::from(number).checked_sub(1);
    let meaning = index.and_then(|index| REFUSALS.get(index)).unwrap_or(&"not a known reason");
    let text = format!("the proxy does not connect to `target`: {meaning} (reply {number})");
    Failure::new(Step::LogIn, text)
}

/// A message of this name is not what the protocol says.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(Step::LogIn, format!("the proxy's {what} message is not valid: is it SOCKS5?"))
}
