//! What a client begins with: AUTH and HELLO are the relay's, everything else is the server's.

/// The longest log-in that is read. The server gets what is longer, and refuses it.
pub(super) const LONGEST: usize = 16 * 1024;
/// The longest number on a line of its own.
const LONGEST_NUMBER: usize = 8;
/// The most words of a HELLO: its version, AUTH with two, SETNAME with one.
const MOST_WORDS: usize = 7;

/// The first command of what a client has said.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum First {
    /// Not all of it is there.
    Incomplete,
    /// AUTH, as this user if it names one. So many bytes are it.
    Auth { user: Option<Vec<u8>>, length: usize },
    /// HELLO: as whom it logs in, and the command without that.
    Hello { user: Option<Vec<u8>>, rest: Vec<u8>, length: usize },
    /// Nothing that logs in, or nothing that a server understands.
    Other,
}

/// Why a command cannot be read.
enum Stop {
    Incomplete,
    Other,
}

/// Looks at the first command.
pub(super) fn first(said: &[u8]) -> First {
    let mut reader = Reader(said);
    match reader.words() {
        Ok(words) => understood(&words, said.len().saturating_sub(reader.0.len())),
        Err(Stop::Incomplete) if said.len() < LONGEST => First::Incomplete,
        Err(_) => First::Other,
    }
}

/// A command, as clients send it.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend([*word, b"\r\n"].concat());
    }
    bytes
}

fn understood(words: &[&[u8]], length: usize) -> First {
    match words {
        [name, _] if is(name, "AUTH") => First::Auth { user: None, length },
        [name, user, _] if is(name, "AUTH") => First::Auth { user: Some(user.to_vec()), length },
        [name, rest @ ..] if is(name, "HELLO") => hello(rest, length).unwrap_or(First::Other),
        _ => First::Other,
    }
}

/// `None` if the server would not understand it.
fn hello<'a>(mut words: &[&'a [u8]], length: usize) -> Option<First> {
    let (mut kept, mut user): (Vec<&'a [u8]>, _) = (vec![b"HELLO"], None);
    if let Some((version, rest)) = words.split_first() {
        kept.push(*version);
        words = rest;
    }
    while !words.is_empty() {
        words = match words {
            [option, name, _, rest @ ..] if is(option, "AUTH") => {
                user = Some(name.to_vec());
                rest
            }
            [option, name, rest @ ..] if is(option, "SETNAME") => {
                kept.extend([option, name]);
                rest
            }
            _ => return None,
        };
    }
    Some(First::Hello { user, rest: command(&kept), length })
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The words of a command that may be one of ours.
    fn words(&mut self) -> Result<Vec<&'a [u8]>, Stop> {
        let count = self.number(b'*')?;
        if !(1..=MOST_WORDS).contains(&count) {
            return Err(Stop::Other);
        }
        let name = self.word(Some("HELLO".len()))?;
        if !is(name, "AUTH") && !is(name, "HELLO") {
            return Err(Stop::Other);
        }
        let mut words = vec![name];
        for _ in 1..count {
            words.push(self.word(None)?);
        }
        Ok(words)
    }

    /// A word, which is no command of ours if it is longer than that.
    fn word(&mut self, longest: Option<usize>) -> Result<&'a [u8], Stop> {
        let length = self.number(b'$')?;
        if longest.is_some_and(|longest| length > longest) {
            return Err(Stop::Other);
        }
        let (word, rest) = self.0.split_at_checked(length).ok_or(Stop::Incomplete)?;
        let (end, rest) = rest.split_at_checked(2).ok_or(Stop::Incomplete)?;
        self.0 = rest;
        if end == b"\r\n" { Ok(word) } else { Err(Stop::Other) }
    }

    /// A line that is a number, after this character.
    fn number(&mut self, kind: u8) -> Result<usize, Stop> {
        let (first, rest) = self.0.split_first().ok_or(Stop::Incomplete)?;
        if *first != kind {
            return Err(Stop::Other);
        }
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(if rest.len() > LONGEST_NUMBER { Stop::Other } else { Stop::Incomplete });
        };
        let (line, after) = rest.split_at_checked(end).ok_or(Stop::Other)?;
        self.0 = after.strip_prefix(b"\n").unwrap_or(after);
        let digits = line.strip_suffix(b"\r").ok_or(Stop::Other)?;
        let text = str::from_utf8(digits).map_err(|_| Stop::Other)?;
        text.parse().map_err(|_| Stop::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &str) -> Vec<u8> {
        let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
        command(&words)
    }

    #[test]
    fn a_log_in_is_found_with_its_user() {
        let auth = said("auth secret");
        let bytes = [&auth[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        assert_eq!(first(&bytes), First::Auth { user: None, length: auth.len() });
        let named = said("AUTH orders secret");
        let user = Some(b"orders".to_vec());
        assert_eq!(first(&named), First::Auth { user, length: named.len() });
    }

    #[test]
    fn hello_goes_on_without_its_log_in() {
        for (words, user, rest) in [
            ("HELLO 3 AUTH orders secret SETNAME shop", Some("orders"), "HELLO 3 SETNAME shop"),
            ("hello 2 setname shop auth a b", Some("a"), "HELLO 2 setname shop"),
            ("HELLO 3", None, "HELLO 3"),
            ("HELLO", None, "HELLO"),
        ] {
            let bytes = said(words);
            let user = user.map(|user| user.as_bytes().to_vec());
            let expected = First::Hello { user, rest: said(rest), length: bytes.len() };
            assert_eq!(first(&bytes), expected, "{words}");
        }
    }

    #[test]
    fn whatever_is_cut_waits_for_its_end() {
        for words in ["AUTH orders secret", "HELLO 3 AUTH orders secret"] {
            let bytes = said(words);
            for end in 0..bytes.len() {
                assert_eq!(first(&bytes[..end]), First::Incomplete, "{words} to {end}");
            }
        }
    }

    #[test]
    fn everything_else_is_for_the_server() {
        for other in [
            &b"PING\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n",
            b"*3\r\n$9\r\n",
            b"*2\r\n$5\r\nhello\r\n$-1\r\n",
            b"*0\r\n",
            b"*99999999999",
            b"*x\r\n",
            b"*2\n$4\r\nAUTH\r\n$1\r\na\r\n",
            b"*2\r\n$4\r\nAUTHxx$1\r\na\r\n",
        ] {
            assert_eq!(first(other), First::Other, "{}", String::from_utf8_lossy(other));
        }
        assert_eq!(first(&said("HELLO 3 AUTH orders")), First::Other);
        assert_eq!(first(&said("AUTH a b c")), First::Other);
        let long = [&b"*2\r\n$4\r\nAUTH\r\n$99999\r\n"[..], &[b'x'; LONGEST]].concat();
        assert_eq!(first(&long), First::Other);
    }
}
