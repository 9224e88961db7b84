//! The one server behind a proxy that the sessions of a slot lead to.

use fdbroker::Connection;
use fdbroker::connection::TARGET;
use std::net::SocketAddr;

/// The server, as `HOST:PORT`.
#[derive(Debug)]
pub(super) struct Target(String);

impl Target {
    /// Returns where a session leads.
    pub(super) fn of(connection: Connection<'_>) -> Option<Self> {
        connection.text(TARGET).map(|target| Self(target.to_owned()))
    }

    /// Whether a client that asks for this server means the same one. Names are not looked up.
    pub(super) fn is(&self, asked: &str) -> bool {
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        match (address(&self.0), address(asked)) {
            (Some(own), Some(asked)) => own == asked,
            _ => self.0.eq_ignore_ascii_case(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_the_same_by_its_name_or_its_address() {
        let name = Target("Web.example.net:443".to_owned());
        assert!(name.is("web.example.NET:443"));
        for other in ["web.example.net:80", "192.0.2.7:443", "web.example.net", ""] {
            assert!(!name.is(other), "{other}");
        }
        assert!(Target("[2001:db8::1]:80".to_owned()).is("[2001:DB8:0::1]:80"));
        assert!(!Target("192.0.2.7:80".to_owned()).is("192.0.2.8:80"));
    }
}
