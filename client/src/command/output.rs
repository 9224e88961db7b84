//! Standard output and standard error, whose readers may leave at any time, and may be a
//! terminal: but for payloads, nothing is written that one would obey.

use std::fmt;
use std::io::{self, Write};

use fdbroker_policy::{escape, is_harmful};
use serde_json::Value;

use super::Failure;

/// Writes to standard output. A reader that has gone has seen enough: that is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::local("standard output", error)),
    }
}

/// Writes lines to standard output, escaped.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(format!("{}\n", shown(&text.to_string())).as_bytes())
}

/// Writes a value to standard output, on one line. JSON has a way of its own to escape what a
/// terminal would obey.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    let mut text = String::new();
    for character in value.to_string().chars() {
        // Beyond ASCII, JSON leaves control characters as they are. They can stand only in strings.
        if is_harmful(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text += &format!("\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
    write(format!("{text}\n").as_bytes())
}

/// Writes a table to standard output: its columns as wide as they must be, each cell made harmless.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), Failure> {
    let rows: Vec<_> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| escape(cell))).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

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
