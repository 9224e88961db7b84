//! Reads single values out of the parsed tree, and reports those of a wrong type.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::bounds::list_fits;
use super::elsewhere::where_else;
use super::report::{Report, Span};
use super::suggest::{is_meant, suggest};

/// A value and its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A table of the file: what the text calls it, where its name stands, and what is in it.
#[derive(Clone, Copy)]
pub(super) struct Section<'a, 't> {
    /// As in "unknown key in …".
    pub(super) what: &'a str,
    /// Where to point when something is missing.
    pub(super) name: &'a Span,
    pub(super) table: &'a DeTable<'t>,
}

/// What a key expects: its name, and what to write, as in "write …".
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) key: &'static str,
    pub(super) write: &'static str,
}

impl<'a, 't> Section<'a, 't> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'t>> {
        self.table.get(key)
    }

    /// Where a key stands, if it is given.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Reports every key that is none of these.
    pub(super) fn refuse_unknown_keys(&self, known: &[&str], report: &mut Report<'_>) {
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let message = format!("unknown key `{}` in {}", key.get_ref(), self.what);
            let near = || suggest(key.get_ref(), known.iter().copied(), "keys known here");
            let elsewhere = where_else(self.what, key.get_ref());
            report.add(&key.span(), message, elsewhere.map_or_else(near, str::to_owned));
        }
    }

    /// Whether a key that is none of the known ones was probably meant to be this one.
    pub(super) fn misspells(&self, meant: &str, known: &[&str]) -> bool {
        let unknown = self.table.keys().map(|key| key.get_ref().as_ref());
        unknown
            .filter(|key| !known.contains(key) && where_else(self.what, key).is_none())
            .any(|key| is_meant(key, meant, known.iter().copied()))
    }

    pub(super) fn string(
        &self,
        expected: Expected,
        report: &mut Report<'_>,
    ) -> Option<(&'a str, Span)> {
        let value = self.get(expected.key)?;
        string(value, expected, report).map(|text| (text, value.span()))
    }

    pub(super) fn boolean(&self, key: &'static str, report: &mut Report<'_>) -> Option<bool> {
        let value = self.get(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            wrong_type(value, Expected { key, write: "true or false, without quotes" }, report);
        }
        found
    }

    /// The elements of a list of strings.
    ///
    /// `None` if the key is not there or no list; an element that is no string is reported and left out.
    pub(super) fn strings(
        &self,
        expected: Expected,
        report: &mut Report<'_>,
    ) -> Option<Vec<(&'a str, Span)>> {
        let value = self.get(expected.key)?;
        let Some(list) = value.get_ref().as_array() else {
            wrong_type(value, expected, report);
            return None;
        };
        if !list_fits(list.len(), expected.key, &value.span(), report) {
            return None;
        }
        let text = |item: &'a Value<'t>| Some((string(item, expected, report)?, item.span()));
        Some(list.iter().filter_map(text).collect())
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        expected: Expected,
        words: &[(&'static str, T)],
        report: &mut Report<'_>,
    ) -> Option<T> {
        let (text, span) = self.string(expected, report)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let remedy = suggest(text, words.iter().map(|(word, _)| *word), "write one of");
            report.add(&span, format!("`{}` cannot be \"{text}\"", expected.key), remedy);
        }
        found
    }
}

pub(super) fn string<'a>(
    value: &'a Value<'_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<&'a str> {
    let found = value.get_ref().as_str();
    if found.is_none() {
        wrong_type(value, expected, report);
    }
    found
}

/// The number that an integer of the file stands for; `None` if it is beyond 128 bits.
pub(super) fn number(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn wrong_type(value: &Value<'_>, expected: Expected, report: &mut Report<'_>) {
    let message = format!("`{}` cannot be {}", expected.key, kind_of(value.get_ref()));
    report.add(&value.span(), message, format!("write {}", expected.write));
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
