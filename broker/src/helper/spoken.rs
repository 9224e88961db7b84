//! What a server speaks, by its first bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_types::quoted;

/// How much of a server's words is repeated, in bytes.
const SHOWN: usize = 80;

/// A protocol that can be told by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    Tls,
    Http,
    Ssh,
    Smtp,
    Imap,
    Pop3,
    Mysql,
    Postgres,
    Redis,
}

impl Spoken {
    /// Returns the protocol whose servers begin so.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        let signs: [(&[u8], Self); 12] = [
            (b"HTTP/", Self::Http),
            (b"SSH-", Self::Ssh),
            (b"220 ", Self::Smtp),
            (b"220-", Self::Smtp),
            (b"* OK", Self::Imap),
            (b"* PREAUTH", Self::Imap),
            (b"* BYE", Self::Imap),
            (b"+OK ", Self::Pop3),
            (b"-ERR ", Self::Redis),
            (b"-NOAUTH ", Self::Redis),
            (b"-DENIED ", Self::Redis),
            (b"-WRONGPASS ", Self::Redis),
        ];
        let sign = signs.iter().find(|(sign, _)| first.starts_with(sign));
        sign.map(|(_, spoken)| *spoken).or_else(|| Self::of_numbers(first))
    }

    fn of_numbers(first: &[u8]) -> Option<Self> {
        match first {
            // An alert or a handshake, of any version.
            [0x15 | 0x16, 3, 0..=4, ..] => Some(Self::Tls),
            // The first packet: a greeting of version 10, or an error.
            [_, _, 0, 0, 10 | 0xff, ..] => Some(Self::Mysql),
            [b'E' | b'N' | b'R', 0, 0, ..] => Some(Self::Postgres),
            _ => None,
        }
    }

    /// Returns the kind of log-in for it, if there is one.
    pub(super) fn kind(self) -> Option<&'static str> {
        match self {
            Self::Http => Some("http-proxy"),
            Self::Smtp => Some("smtp"),
            Self::Imap => Some("imap"),
            Self::Mysql => Some("mysql"),
            Self::Postgres => Some("postgres"),
            Self::Redis => Some("redis"),
            Self::Tls | Self::Ssh | Self::Pop3 => None,
        }
    }

    /// Returns what is said of a server that speaks it, and should not.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Tls => "it speaks TLS: add `tls`",
            Self::Http => "it speaks HTTP",
            Self::Ssh => "it speaks SSH",
            Self::Smtp => "it speaks SMTP, or FTP",
            Self::Imap => "it speaks IMAP",
            Self::Pop3 => "it speaks POP3",
            Self::Mysql => "it speaks MySQL's protocol",
            Self::Postgres => "it speaks PostgreSQL's protocol",
            Self::Redis => "it speaks the protocol of Redis, or POP3",
        }
    }
}

/// Returns the first line, between quotation marks, escaped and cut.
pub(super) fn words(first: &[u8]) -> String {
    let line = first.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
    let line = if line.is_empty() { first } else { line };
    quoted(OsStr::from_bytes(line.get(..SHOWN).unwrap_or(line))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_first_bytes() {
        for (first, expected) in [
            (&b"\x15\x03\x01\0\x02\x02\x46"[..], Some(Spoken::Tls)),
            (b"\x16\x03\x03\0\x7a", Some(Spoken::Tls)),
            (b"HTTP/1.1 400 Bad Request\r\n", Some(Spoken::Http)),
            (b"SSH-2.0-OpenSSH\r\n", Some(Spoken::Ssh)),
            (b"220 mail ESMTP\r\n", Some(Spoken::Smtp)),
            (b"* OK ready\r\n", Some(Spoken::Imap)),
            (b"+OK ready\r\n", Some(Spoken::Pop3)),
            (b"+OK\r\n", None),
            (b"J\0\0\0\x0a8.0.36\0", Some(Spoken::Mysql)),
            (b"R\0\0\0\x0a8.0.36\0", Some(Spoken::Mysql)),
            (b"R\0\0\0\x08", Some(Spoken::Postgres)),
            (b"-NOAUTH Authentication required.\r\n", Some(Spoken::Redis)),
            (b"\x05\0", None),
            (b"", None),
        ] {
            assert_eq!(Spoken::of(first), expected, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn words_are_one_line_escaped_and_cut() {
        assert_eq!(words(b"hello\r\nthere"), "\"hello\"");
        assert_eq!(words(b"\x1b[2J"), r#""\u{1b}[2J""#);
        assert_eq!(words(b"\r\n"), r#""\r\n""#);
        assert!(words(&[b'x'; 4000]).len() < 100);
    }
}
