//! What a report does not show of a line: a password that somebody wrote into the policy.
//!
//! The language has no place for one, so such a policy is refused, and its findings go to terminals and
//! logs. A file that does not parse has no keys to go by: this looks at the text, and rather hides too much.

/// Of what a key has a part that holds a secret, also where it is misspelt.
const SECRET_KEYS: [&str; 11] =
    ["pas", "pss", "psw", "pw", "word", "wort", "secret", "token", "_key", "-key", "tkey"];
/// How a value begins that says where a secret is kept.
const PLACES: [&str; 2] = ["credential:", "file:"];
/// What strings of several lines begin and end with.
const DELIMITERS: [&str; 2] = ["\"\"\"", "'''"];

/// Returns the offset in the last of these lines from which it is not to be shown, or `None`.
pub(crate) fn hidden_from<'t>(lines: impl Iterator<Item = &'t str>) -> Option<usize> {
    let mut open: Option<&str> = None;
    let mut hidden = None;
    for line in lines {
        if let Some(delimiter) = open {
            hidden = Some(0);
            if line.contains(delimiter) {
                open = None;
            }
            continue;
        }
        hidden = secret_value(line).into_iter().chain(login(line)).min();
        open = secret_value(line).and_then(|at| opened(line.get(at..)?));
    }
    hidden
}

/// Where the value of a secret begins.
fn secret_value(line: &str) -> Option<usize> {
    let values = line.match_indices('=').map(|(at, _)| at);
    values
        .filter(|at| is_secret(&line[..*at]) && !is_place(&line[at + 1..]))
        .map(|at| at + 1)
        .next()
}

fn is_secret(before: &str) -> bool {
    let is_of_key = |character: char| character.is_alphanumeric() || "_-.\"'".contains(character);
    let key =
        before.trim_end().rsplit(|character| !is_of_key(character)).next().unwrap_or_default();
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

fn is_place(value: &str) -> bool {
    let value = value.trim_start().trim_start_matches(['"', '\'']);
    PLACES.iter().any(|place| value.starts_with(place))
}

/// Where the user and the password of a URL begin.
fn login(line: &str) -> Option<usize> {
    let at = line.find("://")? + "://".len();
    line[at..].contains('@').then_some(at)
}

/// What ends the string of several lines that begins here and does not end here.
fn opened(value: &str) -> Option<&'static str> {
    let value = value.trim_start();
    let delimiter = DELIMITERS.into_iter().find(|delimiter| value.starts_with(delimiter))?;
    let is_closed = value[delimiter.len()..].contains(delimiter);
    (!is_closed).then_some(delimiter)
}

#[cfg(test)]
mod tests {
    use super::hidden_from;

    fn shown(text: &str) -> &str {
        let last = text.lines().last().unwrap();
        &last[..hidden_from(text.lines()).unwrap_or(last.len())]
    }

    #[test]
    fn a_password_is_not_shown() {
        for (text, expected) in [
            ("password = \"hunter2\"", "password ="),
            ("auth.postgres.\"password\"='hunter2", "auth.postgres.\"password\"="),
            (
                "auth = { postgres = { user = \"u\", passwd = hunter2",
                "auth = { postgres = { user = \"u\", passwd =",
            ),
            ("PGPASSWORD = hunter2", "PGPASSWORD ="),
            ("pasword = hunter2", "pasword ="),
            ("tls = { client_key = hunter2", "tls = { client_key ="),
            ("connect = \"postgres://u:hunter2@host/db\"", "connect = \"postgres://"),
            ("password = \"\"\"\nhunter2", ""),
            ("password = '''\nhunter2\nmore ''' hunter2", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn what_holds_no_secret_is_shown() {
        for text in [
            "password = \"credential:orders\"",
            "auth = { postgres = { password = 'file:/etc/key', user = 7 } }",
            "password = '''\nhunter2 '''\nuser = 1",
            "file = \"/etc/passwd\"",
            "connect = \"tcp://host\"",
            "password",
        ] {
            assert_eq!(shown(text), text.lines().last().unwrap());
        }
    }
}
