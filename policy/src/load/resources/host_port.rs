//! Reads `HOST:PORT`: a name, an IPv4 address, or an IPv6 address in brackets.

use std::net::IpAddr;

/// The longest name of a host (RFC 1035).
const LONGEST_NAME: usize = 253;

/// Returns the host, without brackets, and the port.
pub(super) fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = fdbroker_types::decimal(port).and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|host| is_address(host))?,
        None => Some(host).filter(|host| is_host(host))?,
    };
    Some((host.to_owned(), port))
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// An IPv4 address or a name; an IPv6 address needs its brackets.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=LONGEST_NAME).contains(&host.len()) && host.bytes().all(allowed)
}
