//! What of a slot is wanted: its descriptor under a name, or a relay to it.

use fdbroker_types::quoted;

use super::relay::Protocol;

/// The longest name, in bytes: sd_listen_fds_with_names(3).
const LONGEST_NAME: usize = 255;

/// A slot that is wanted, and as what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) slot: String,
    pub(super) form: Form,
}

/// As what it is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A descriptor of this name.
    Descriptor(String),
    /// A socket that speaks the protocol. The prefix stands before each environment name.
    Relay { protocol: Protocol, prefix: String },
}

impl Wanted {
    /// Reads `SLOT`, `SLOT=NAME` or `SLOT=PROTOCOL:PREFIX`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (slot, name) = match text.split_once('=') {
            Some((slot, name)) => (slot, name.to_owned()),
            None => (text, text.replace('/', ".")),
        };
        let form = match relay(text, &name) {
            Some(form) => form?,
            None => Form::Descriptor(checked(name)?),
        };
        Ok(Self { slot: slot.to_owned(), form })
    }
}

/// The relay that is asked for; `None` if a descriptor is. A name alone can be a slot's, too.
fn relay(text: &str, name: &str) -> Option<Result<Form, String>> {
    let (word, prefix) = name.split_once(':').unwrap_or((name, ""));
    if !text.contains('=') {
        return None;
    }
    let Some(protocol) = Protocol::named(word) else { return misspelt(word).map(Err) };
    let is_plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let starts_well = !prefix.starts_with(|first: char| first.is_ascii_digit());
    if !starts_well || !prefix.bytes().all(is_plain) {
        return Some(Err(format!(
            "{prefix} cannot begin the names of environment variables: use letters, digits and '_'",
            prefix = quoted(prefix)
        )));
    }
    Some(Ok(Form::Relay { protocol, prefix: prefix.to_owned() }))
}

/// As the name of a descriptor it would leave the program without the relay: it would go to a server of its own
/// choice.
fn misspelt(word: &str) -> Option<String> {
    let meant = Protocol::meant_by(word)?;
    let word = quoted(word);
    Some(format!(
        "{word} is no protocol; write `{meant}` for a relay, or call the descriptor something else"
    ))
}

fn checked(name: String) -> Result<String, String> {
    let plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b':';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Err(format!(
            "{name} cannot be a descriptor's name: it takes 1 to {LONGEST_NAME} printable ASCII characters other than ':'",
            name = quoted(&name)
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_a_name_is_named_after_itself() {
        let named = |slot: &str, name: &str| {
            Ok(Wanted { slot: slot.into(), form: Form::Descriptor(name.into()) })
        };
        assert_eq!(Wanted::parse("web/3"), named("web/3", "web.3"));
        assert_eq!(Wanted::parse("tun"), named("tun", "tun"));
        assert_eq!(Wanted::parse("postgres"), named("postgres", "postgres"));
        assert_eq!(Wanted::parse("1/0=a/b"), named("1/0", "a/b"));
    }

    #[test]
    fn a_protocol_in_place_of_a_name_asks_for_a_relay() {
        let relay = |prefix: &str| {
            let form = Form::Relay { protocol: Protocol::Postgres, prefix: prefix.into() };
            Ok(Wanted { slot: "orders".into(), form })
        };
        assert_eq!(Wanted::parse("orders=postgres"), relay(""));
        assert_eq!(Wanted::parse("orders=postgres:"), relay(""));
        assert_eq!(Wanted::parse("orders=postgres:ORDERS_"), relay("ORDERS_"));
        for wrong in ["orders=postgres:1", "orders=postgres:a b", "orders=postgres:A=", "x=pg:A"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_probably_means_a_protocol_is_refused() {
        for (wrong, meant) in [
            ("orders=postgresql", "postgres"),
            ("orders=Postgres:A_", "postgres"),
            ("stock=mariadb", "mysql"),
            ("web=HTTP_PROXY", "http-proxy"),
        ] {
            let said = Wanted::parse(wrong).unwrap_err();
            assert!(said.contains(&format!("write `{meant}`")), "{said}");
        }
        assert!(Wanted::parse("postgresql").is_ok(), "it is a slot");
    }

    #[test]
    fn names_that_would_forge_others_are_refused() {
        for wrong in
            ["1/0=", "1/0=a:b", "1/0=a\nb", "1/0=\u{e9}", &format!("1/0={}", "x".repeat(256))]
        {
            assert!(Wanted::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Wanted::parse(&format!("1/0={}", "x".repeat(255))).is_ok());
    }
}
