//! What a terminal may be shown, and standard error, which mostly is one.

use std::fmt;
use std::io::{self, Write};

use fdbroker_policy::is_harmful;

/// Writes lines to standard error, escaped.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", shown(&text.to_string()));
}

/// The text with everything escaped that a terminal would not show as it is, but line ends.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\r' => shown += "\\r",
            _ if character != '\n' && is_harmful(character) => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::escape;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_the_rest_is_not() {
        assert_eq!(shown("\"a\\b\"\n'é'"), "\"a\\b\"\n'é'");
        assert_eq!(shown("\x1b[2J\r\u{9b}\u{202e}"), r"\u{1b}[2J\r\u{9b}\u{202e}");
        assert_eq!(shown("a\u{61c}\u{feff}"), r"a\u{61c}\u{feff}");
    }

    #[test]
    fn the_command_escapes_what_findings_and_the_log_escape() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = character.to_string();
            let escaped = escape(&text) != text;
            assert_eq!(shown(&text) != text, escaped && character != '\n', "{character:?}");
            assert!(escaped || !character.is_control(), "{character:?}");
        }
    }
}
