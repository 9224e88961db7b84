//! What an HTTP proxy is asked.

use fdbroker_policy::ProxyTarget;
use zeroize::Zeroizing;

use crate::helper::secret::Secret;

/// Returns user and password as Basic has them: as secret as the password.
pub(super) fn encoded(user: &str, password: &Secret) -> Secret {
    // A colon ends the user: the policy allows none in it.
    Secret::base64(&[user.as_bytes(), b":", password.bytes()])
}

/// Returns the request to connect. A name is sent as it is, for the proxy to look up.
pub(super) fn connect(target: &ProxyTarget, encoded: Option<&Secret>) -> Zeroizing<Vec<u8>> {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    let mut parts = vec![head.as_bytes()];
    if let Some(encoded) = encoded {
        parts.extend([&b"Proxy-Authorization: Basic "[..], encoded.bytes(), b"\r\n"]);
    }
    parts.push(b"\r\n");
    Zeroizing::new(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> ProxyTarget {
        ProxyTarget { host: host.to_owned(), port: 443 }
    }

    #[test]
    fn user_and_password_are_encoded_as_in_rfc_7617() {
        let encoded = encoded("Aladdin", &Secret::for_a_test(b"open sesame"));
        assert_eq!(encoded.bytes(), b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let request = connect(&target("web"), Some(&encoded));
        let expected = b"CONNECT web:443 HTTP/1.1\r\nHost: web:443\r\n\
            Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert_eq!(request.as_slice(), expected);
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        let request = connect(&target("::1"), None);
        assert_eq!(*request, b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n");
    }
}
