//! Messages to a SOCKS5 proxy, and the numbers in them.

use std::net::IpAddr;

use fdbroker_policy::ProxyTarget;
use zeroize::Zeroizing;

pub(super) const VERSION: u8 = 5;
/// The version of the log-in with a user and a password.
pub(super) const PASSWORD_VERSION: u8 = 1;

/// The methods of a log-in.
pub(super) const NO_PASSWORD: u8 = 0;
pub(super) const PASSWORD: u8 = 2;
pub(super) const NO_METHOD: u8 = 255;

/// The kinds of addresses.
pub(super) const IPV4: u8 = 1;
pub(super) const NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;

const CONNECT: u8 = 1;

/// The most bytes of a user, a password or a name: its length is sent as one byte.
pub(super) const LONGEST: u8 = u8::MAX;

/// Returns the first message: the methods that the proxy may choose from.
pub(super) fn greeting(with_password: bool) -> &'static [u8] {
    if with_password { &[VERSION, 2, NO_PASSWORD, PASSWORD] } else { &[VERSION, 1, NO_PASSWORD] }
}

/// Returns the message with user and password, or `None` if one is empty or too long.
pub(super) fn login(user: &[u8], password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let length = |text: &[u8]| u8::try_from(text.len()).ok().filter(|length| *length > 0);
    let (before, between) = ([PASSWORD_VERSION, length(user)?], [length(password)?]);
    let parts = [&before[..], user, &between, password];
    Some(Zeroizing::new(parts.concat()))
}

/// Returns the request to connect. A name is sent as it is, for the proxy to look up.
pub(super) fn connect(target: &ProxyTarget) -> Vec<u8> {
    let mut message = vec![VERSION, CONNECT, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        Err(_) => {
            // The policy allows no name that is longer.
            message.extend([NAME, u8::try_from(target.host.len()).unwrap_or(LONGEST)]);
            message.extend(target.host.as_bytes());
        }
    }
    message.extend(target.port.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_to(host: &str, port: u16) -> Vec<u8> {
        connect(&ProxyTarget { host: host.to_owned(), port })
    }

    #[test]
    fn a_request_has_the_address_or_the_name() {
        assert_eq!(connect_to("192.0.2.7", 258), b"\x05\x01\0\x01\xc0\0\x02\x07\x01\x02");
        assert_eq!(
            connect_to("::1", 80),
            b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50"
        );
        assert_eq!(connect_to("web", 80), b"\x05\x01\0\x03\x03web\0\x50");
    }

    #[test]
    fn user_and_password_have_1_to_255_bytes() {
        assert_eq!(login(b"me", b"key").unwrap().as_slice(), b"\x01\x02me\x03key");
        let long = [b'x'; 256];
        assert!(login(b"me", &long[1..]).is_some());
        for (user, password) in [(&b""[..], &b"x"[..]), (b"x", b""), (b"x", &long), (&long, b"x")] {
            assert!(login(user, password).is_none());
        }
    }
}
