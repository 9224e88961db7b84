//! Reads the tables `[tags.NAME]`.

use super::declared::{Declared, Once, check_name};
use super::reader::{Expected, Section, number, wrong_type};
use super::report::{Report, Span};
use super::suggest::suggest;
use crate::{Accept, Durability, Kind, Tag, TagSettings};

const KEYS: [&str; 4] = ["id", "serial", "durability", "accept"];

const ID: Expected =
    Expected { key: "id", write: "the tag's number on the wire: a whole number from 0 to 32767" };
const DURABILITY: Expected = Expected { key: "durability", write: "\"relaxed\" or \"strict\"" };
const ACCEPT: Expected =
    Expected { key: "accept", write: "a list of kinds in quotes, such as [\"tcp\", \"none\"]" };

/// The word that stands for every kind.
const ANY: &str = "any";

/// Reads the tags of a file, one after the other.
pub(super) struct Tags<'d> {
    declared: &'d mut Declared,
    names: Once<String>,
    ids: Once<Tag>,
    read: Vec<TagSettings>,
}

impl<'d> Tags<'d> {
    pub(super) fn new(declared: &'d mut Declared) -> Self {
        Self { declared, names: Once::new(), ids: Once::new(), read: Vec::new() }
    }

    pub(super) fn read(&mut self, name: &str, section: Section<'_, '_>, report: &mut Report<'_>) {
        check_name(name, "tag", section.name, report);
        if let Some(first) = self.names.give(name.to_owned(), report.mark(section.name)) {
            let message = format!("the tag \"{name}\" is given twice");
            report.add_twice(section.name, &first, message, "give each tag a name of its own");
            return;
        }
        section.refuse_unknown_keys(&KEYS, report);
        let id = self.id(section, report);
        let serial = section.boolean("serial", report).unwrap_or(false);
        let words = Durability::ALL.map(|durability| (durability.name(), durability));
        let durability = section.word(DURABILITY, &words, report).unwrap_or_default();
        let accept = accept(section, report).unwrap_or_default();
        self.declared.tags.insert(name.to_owned(), id);
        let name = name.to_owned();
        self.read.extend(id.map(|id| TagSettings { name, id, serial, durability, accept }));
    }

    /// Takes down a name under which nothing can be read.
    pub(super) fn declare(&mut self, name: &str) {
        self.declared.tags.entry(name.to_owned()).or_insert(None);
    }

    pub(super) fn finish(self) -> Vec<TagSettings> {
        self.read
    }

    fn id(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Tag> {
        let Some(value) = section.get(ID.key) else {
            let message = format!("{} has no `id`", section.what);
            report.add_missing(
                section.name,
                message,
                format!("add a line `id =` with {}", ID.write),
            );
            return None;
        };
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(value, ID, report);
            return None;
        };
        let id = number(integer).and_then(|number| i16::try_from(number).ok()).and_then(Tag::new);
        match id {
            Some(id) => self.check_given_once(id, &value.span(), report),
            None => report.add(
                &value.span(),
                format!("{integer} cannot be the number of a tag"),
                format!("write {}", ID.write),
            ),
        }
        id
    }

    fn check_given_once(&mut self, id: Tag, span: &Span, report: &mut Report<'_>) {
        if let Some(first) = self.ids.give(id, report.mark(span)) {
            report.add_twice(
                span,
                &first,
                format!("the tag number {id} is given twice"),
                "give each tag a number of its own",
            );
        }
    }
}

fn accept(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Accept> {
    let words = section.strings(ACCEPT, report)?;
    Some(words.into_iter().fold(
        Accept::NOTHING,
        |accept, (word, span)| match word.parse::<Kind>() {
            Ok(kind) => accept.with(kind),
            Err(_) if word == ANY => Accept::ANY,
            Err(_) => {
                let known = Kind::ALL.into_iter().map(Kind::name).chain([ANY]);
                let message = format!("there is no kind of descriptor \"{word}\"");
                report.add(&span, message, suggest(word, known, "kinds of descriptor"));
                accept
            }
        },
    ))
}
