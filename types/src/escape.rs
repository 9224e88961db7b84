//! How text from others is shown in a log, on a terminal or in a report.
//!
//! One set of characters is escaped everywhere ([`is_harmful`]). So no text can look like two
//! lines, move a cursor, turn the direction of writing or hide what it is.

use std::ffi::OsStr;
use std::fmt::{self, Write};

/// Returns whether a character could mislead a reader.
///
/// These are control characters (C0, DEL, C1), line separators, and what is invisible or turns the direction of
/// writing: Unicode's general categories Cc, Cf, Zl and Zp, and the other code points that it calls default ignorable
/// (Unicode 16).
#[must_use]
pub fn is_harmful(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the text for one line: each harmful character becomes `\n`, `\r`, `\t` or `\u{…}`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Writing to a String cannot fail.
    let _ = write_escaped(&mut escaped, text);
    escaped
}

/// Returns the text escaped as [`escape()`] does, but with its line ends (`\n`) as they are.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// Returns a JSON text with each harmful character as `\uXXXX`: JSON itself allows them within strings.
#[must_use]
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_harmful(character) {
            // JSON has four digits for each unit of UTF-16. Writing to a String cannot fail.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Writes the text escaped as [`escape()`] does.
///
/// # Errors
///
/// That of `out`.
pub fn write_escaped(out: &mut impl Write, text: &str) -> fmt::Result {
    write_all(out, text, is_harmful)
}

/// Writes what is to stand between quotation marks: escaped, with `\` before `"` and `\`.
///
/// # Errors
///
/// That of `out`.
pub fn write_in_quotes(out: &mut impl Write, text: &str) -> fmt::Result {
    write_all(out, text, |character| matches!(character, '"' | '\\') || is_harmful(character))
}

fn write_all(out: &mut impl Write, text: &str, needs: impl Fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(&needs) {
        let (plain, found) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = found.chars();
        if let Some(character) = characters.next() {
            write!(out, "{}", character.escape_default())?;
        }
        rest = characters.as_str();
    }
    out.write_str(rest)
}

/// A text between quotation marks, escaped; see [`quoted`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a OsStr);

/// Shows a text or a path between quotation marks, escaped. A byte that is no UTF-8 becomes `\xNN`.
pub fn quoted<T: AsRef<OsStr> + ?Sized>(text: &T) -> Quoted<'_> {
    Quoted(text.as_ref())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.as_encoded_bytes().utf8_chunks() {
            write_in_quotes(f, chunk.valid())?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02X}"))?;
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn every_character() -> impl Iterator<Item = char> {
        (0..=u32::from(char::MAX)).filter_map(char::from_u32)
    }

    #[test]
    fn what_could_reach_the_terminal_is_escaped() {
        assert_eq!(escape("a\u{1b}[2J\u{9b}\n\u{202e}é"), r"a\u{1b}[2J\u{9b}\n\u{202e}é");
        assert_eq!(escape("a\u{61c}\u{feff}\r\t"), r"a\u{61c}\u{feff}\r\t");
        assert_eq!(escape(r#""a\b" 'é'"#), r#""a\b" 'é'"#);
    }

    #[test]
    fn lines_keep_their_ends_and_nothing_else() {
        assert_eq!(escape_lines("a\r\nb\n\u{85}"), "a\\r\nb\n\\u{85}");
    }

    #[test]
    fn every_way_of_escaping_has_the_same_set() {
        for character in every_character() {
            let text = character.to_string();
            let harmful = is_harmful(character);
            assert!(harmful || !character.is_control(), "{character:?}");
            assert_eq!(escape(&text) != text, harmful, "{character:?}");
            assert_eq!(escape_json(&text) != text, harmful, "{character:?}");
            assert_eq!(escape_lines(&text) != text, harmful && character != '\n', "{character:?}");
            let plain = quoted(&text).to_string() == format!("\"{text}\"");
            assert_eq!(!plain, harmful || "\"\\".contains(character), "{character:?}");
        }
    }

    #[test]
    fn what_is_quoted_ends_where_its_quotation_mark_is() {
        assert_eq!(quoted(r#"a" or \"#).to_string(), r#""a\" or \\""#);
        assert_eq!(quoted(OsStr::from_bytes(b"/a\xff\n")).to_string(), r#""/a\xFF\n""#);
    }

    #[test]
    fn json_stays_json() {
        assert_eq!(escape_json("\"\u{202e}\u{e0041}é\""), r#""\u202e\udb40\udc41é""#);
    }
}
