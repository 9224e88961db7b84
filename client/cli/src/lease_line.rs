//! A line of the list of leases, read: `key=value`, with quotation marks around texts of others.

use std::str::Chars;

use fdbroker::Slot;
use fdbroker_policy::Uid;
use serde_json::Value;

/// What a line begins with that is no lease: only those of the own user are listed.
pub(crate) const NOTE: char = '#';

/// Whether a line of the list is a note.
pub(crate) fn is_note(line: &str) -> bool {
    line.starts_with(NOTE)
}

/// What a line says.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct LeaseLine(Vec<(String, Said)>);

#[derive(PartialEq, Eq, Debug)]
enum Said {
    Word(String),
    /// What stood between quotation marks.
    Text(String),
}

impl LeaseLine {
    /// Reads a line; `None` if it is none of the list.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (mut fields, mut rest) = (Vec::new(), line);
        while !rest.is_empty() {
            let (key, behind) = rest.split_once('=')?;
            let (said, behind) = match behind.strip_prefix('"') {
                Some(escaped) => text(escaped).map(|(text, behind)| (Said::Text(text), behind))?,
                None => word(behind),
            };
            fields.push((key.to_owned(), said));
            rest = behind.strip_prefix(' ').unwrap_or(behind);
        }
        Some(Self(fields))
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.word("lease")?.parse().ok()
    }

    pub(crate) fn slot(&self) -> Option<Slot> {
        self.word("slot")?.parse().ok()
    }

    pub(crate) fn uid(&self) -> Option<Uid> {
        self.word("uid")?.parse().ok().map(Uid)
    }

    /// Returns all of it as an object.
    pub(crate) fn to_json(&self) -> Value {
        let fields = self.0.iter().map(|(key, said)| (key.clone(), said.to_json()));
        Value::Object(fields.collect())
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|(found, said)| match said {
            Said::Word(word) if found == key => Some(word.as_str()),
            _ => None,
        })
    }
}

impl Said {
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Word(word) if matches!(word.as_str(), "none" | "never") => Value::Null,
            Self::Word(word) => {
                word.parse::<u64>().map_or_else(|_| word.as_str().into(), Value::from)
            }
        }
    }
}

fn word(text: &str) -> (Said, &str) {
    let (word, behind) = text.split_once(' ').unwrap_or((text, ""));
    (Said::Word(word.to_owned()), behind)
}

/// Reads up to the quotation mark that ends a text; returns also what stands behind it.
fn text(escaped: &str) -> Option<(String, &str)> {
    let (mut text, mut rest) = (String::new(), escaped.chars());
    loop {
        match rest.next()? {
            '"' => return Some((text, rest.as_str())),
            '\\' => text.push(unescaped(&mut rest)?),
            character => text.push(character),
        }
    }
}

/// The character that is written so behind a backslash.
fn unescaped(rest: &mut Chars<'_>) -> Option<char> {
    match rest.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let (number, behind) = rest.as_str().strip_prefix('{')?.split_once('}')?;
            *rest = behind.chars();
            char::from_u32(u32::from_str_radix(number, 16).ok()?)
        }
        plain @ ('"' | '\'' | '\\') => Some(plain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_types::quoted;
    use serde_json::json;

    use super::*;

    const LINE: &str = "lease=17 slot=1/5 name=\"orders\" uid=33 pid=4 held=0 ends_in=never \
                        relay=direct peer=\"tcp:192.0.2.7:5432\" session=none";

    #[test]
    fn a_line_of_the_list_is_read() {
        let line = LeaseLine::parse(LINE).unwrap();
        let slot = "1/5".parse().ok();
        assert_eq!((line.number(), line.slot(), line.uid()), (Some(17), slot, Some(Uid(33))));
        let expected = json!({
            "lease": 17, "slot": "1/5", "name": "orders", "uid": 33, "pid": 4, "held": 0,
            "ends_in": null, "relay": "direct", "peer": "tcp:192.0.2.7:5432", "session": null,
        });
        assert_eq!(line.to_json(), expected);
        for other in ["lease", "lease=1 name=\"orders", "# a sentence", "name=\"\\x\""] {
            assert_eq!(LeaseLine::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_text_of_others_says_nothing_else() {
        let peer = "unix:/run/a b\" uid=0 lease=1 \u{1b}\n\\";
        let line = format!("lease=2 peer={} uid=7", quoted(peer));
        let line = LeaseLine::parse(&line).unwrap();
        assert_eq!((line.number(), line.uid()), (Some(2), Some(Uid(7))));
        assert_eq!(line.to_json()["peer"], peer);
    }
}
