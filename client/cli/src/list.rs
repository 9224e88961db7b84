//! `fdbroker list`: which slots there are.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use fdbroker::{Kind, Listed, Route};
use fdbroker_types::escape;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::output;
use crate::terminal;

/// List the slots that you may see, and their deposits
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct List {
    /// Only those of this tag, such as 10 or web
    tag: Option<String>,
    /// Write one JSON array instead, of objects with: slot, name, kind, resource, relay,
    /// unreachable, here_only, owner, payload_bytes
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker list                  everything, as a table
  fdbroker list web
  fdbroker list --json | jq -r '.[] | select(.unreachable) | .slot'

A slot is listed if a rule grants you the right list on it. If there is none, standard output is
empty and standard error says so. Only operators see OWNER (a user id), BYTES (of payload) and
slots that no rule reaches. NOTE says of a connection how it leads to the server: direct, relayed, or
ktls-or-relayed. A deposit that is here-only is lost when the broker ends, although systemd keeps
others. Unknown and hidden values are shown as -, and as null in JSON.";

impl List {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let tag = self.tag.as_deref().map(|tag| lazy.tag(tag)).transpose()?;
        let listed = lazy.broker()?.list(tag)?;
        if self.json {
            return output::json(&listed.iter().map(object).collect());
        }
        if listed.is_empty() {
            let of = self.tag.map_or(String::new(), |tag| format!(" of {}", escape(&tag)));
            terminal::complain(format_args!(
                "fdbroker: nothing is listed: no slot{of} holds anything that you have the right `list` to"
            ));
        }
        output::write(table(&listed).as_bytes())
    }
}

fn object(entry: &Listed) -> Value {
    json!({
        "slot": entry.slot.to_string(),
        "name": entry.name,
        "kind": entry.kind.map(Kind::name),
        "resource": entry.resource,
        "relay": entry.route.map(Route::name),
        "unreachable": entry.unreachable,
        "here_only": entry.here_only,
        "owner": entry.owner,
        "payload_bytes": entry.payload,
    })
}

/// A line of headings and a line for each entry, in columns; nothing for none.
fn table(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; COLUMNS]> = listed.iter().map(row).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    push(&mut table, &HEADINGS, &widths);
    rows.iter().for_each(|row| push(&mut table, row, &widths));
    table
}

const COLUMNS: usize = 6;
const HEADINGS: [&str; COLUMNS] = ["SLOT", "NAME", "KIND", "OWNER", "BYTES", "NOTE"];

fn row(entry: &Listed) -> [String; COLUMNS] {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let name = match entry.name.as_str() {
        "" => "-".to_owned(),
        // On one line, and one word: a row is a line, and a cell has no space in it.
        name => escape(name).replace(' ', "\\u{20}"),
    };
    [
        entry.slot.to_string(),
        name,
        entry.kind.map_or("-", Kind::name).to_owned(),
        number(entry.owner),
        number(entry.payload),
        note(entry),
    ]
}

fn note(entry: &Listed) -> String {
    let notes = [
        entry.resource.then_some("resource"),
        entry.route.map(Route::name),
        entry.unreachable.then_some("unreachable"),
        entry.here_only.then_some("here-only"),
    ];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    if notes.is_empty() { "-".to_owned() } else { notes.join(",") }
}

fn push(table: &mut String, row: &[impl AsRef<str>; COLUMNS], widths: &[usize; COLUMNS]) {
    for (cell, &width) in row.iter().zip(widths) {
        let cell = cell.as_ref();
        // A String takes everything.
        let _ = write!(table, "{cell:width$}  ");
    }
    table.truncate(table.trim_end().len());
    table.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_in_a_policy() {
        for kind in Kind::ALL {
            assert!(kind.name().parse::<fdbroker_policy::Kind>().is_ok(), "{}", kind.name());
        }
        assert_eq!(Kind::ALL.len(), fdbroker_policy::Kind::ALL.len());
    }
}
