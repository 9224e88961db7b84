//! Standard output, whose reader may leave at any time, and may be a terminal: but for payloads,
//! nothing is written that one would obey.

use std::fmt;
use std::io::{self, Write};

use fdbroker_types::{escape, escape_json, escape_lines};
use serde_json::Value;

use crate::failure::Failure;

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
    write(format!("{}\n", escape_lines(&text.to_string())).as_bytes())
}

/// Writes a value to standard output, on one line. JSON has a way of its own to escape what a
/// terminal would obey.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    write(format!("{}\n", escape_json(&value.to_string())).as_bytes())
}

/// Writes a table to standard output: its columns as wide as they must be, each cell made harmless.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), Failure> {
    let rows = std::iter::once(heading.map(str::to_owned)).chain(rows);
    lines(rows.map(Vec::from).collect())
}

/// Writes rows with as many cells each.
fn lines(rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let harmless = |row: &Vec<String>| row.iter().map(|cell| escape(cell)).collect();
    let rows: Vec<Vec<_>> = rows.iter().map(harmless).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..).map_while(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Stands in a table for what is not known.
pub(crate) const NONE: &str = "-";

/// Writes a table to standard output, without the columns in which nothing is known.
pub(crate) fn table_of_what_is_there<const N: usize>(
    heading: [&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), Failure> {
    let is_there = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| cell != NONE)
    };
    let columns: Vec<_> = (0..N).filter(|column| is_there(*column)).collect();
    let of = |row: &[String]| -> Vec<String> {
        columns.iter().filter_map(|column| row.get(*column)).cloned().collect()
    };
    let heading = of(&heading.map(str::to_owned));
    lines(std::iter::once(heading).chain(rows.iter().map(|row| of(row))).collect())
}

/// Writes what the broker reports; an empty report is no line.
pub(crate) fn report(text: &str) -> Result<(), Failure> {
    match text.trim_end() {
        "" => Ok(()),
        text => line(text),
    }
}
