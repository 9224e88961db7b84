//! Translates the users and groups that a file names, each name once.

use std::collections::HashMap;

use super::bounds::LONGEST_ID;
use super::reader::{Expected, Value, number, wrong_type};
use super::report::{Report, Span};
use crate::policy::KnownNames;
use crate::{Gid, LookupError, Names, Uid};

/// What a name turned out to be.
type Answer = Result<Option<u32>, LookupError>;

/// Users or groups: two namespaces that are read alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    User,
    Group,
}

/// The answers so far, and whom to ask for more.
pub(super) struct Accounts<'n> {
    names: &'n dyn Names,
    answers: HashMap<(Sort, String), Answer>,
    /// Whether a rule names somebody who is not there, or not known.
    lack_some: bool,
}

/// Whom a value means.
pub(super) enum Meant {
    Id(u32),
    /// Nobody has the name.
    Absent,
    /// Nobody can tell, for the reason given.
    Unknown(String),
}

impl<'n> Accounts<'n> {
    pub(super) fn new(names: &'n dyn Names) -> Self {
        Self { names, answers: HashMap::new(), lack_some: false }
    }

    /// Whether a rule names somebody who is not there, or not known.
    pub(super) const fn lack_some(&self) -> bool {
        self.lack_some
    }

    /// A rule names somebody who is not there, or not known.
    pub(super) const fn lack(&mut self) {
        self.lack_some = true;
    }

    /// The number of a user or group given by name or number, unless there is a finding about it.
    pub(super) fn id(
        &mut self,
        value: &Value<'_>,
        sort: Sort,
        report: &mut Report<'_>,
    ) -> Option<u32> {
        let name = value.get_ref().as_str().unwrap_or_default();
        match self.meant(value, sort, report)? {
            Meant::Id(id) => Some(id),
            Meant::Absent => {
                report.add(&value.span(), sort.absent(name), sort.remedy(name));
                None
            }
            Meant::Unknown(reason) => {
                let remedy = sort.remedy_of_lookup();
                report.add(&value.span(), sort.unknown(name, &reason), remedy);
                None
            }
        }
    }

    /// Whom a user or group given by name or number means, unless there is a finding about it.
    pub(super) fn meant(
        &mut self,
        value: &Value<'_>,
        sort: Sort,
        report: &mut Report<'_>,
    ) -> Option<Meant> {
        match value.get_ref().as_str() {
            Some(name) => self.by_name(name, &value.span(), sort, report),
            None => by_number(value, sort, report).map(Meant::Id),
        }
    }

    /// The names that were found.
    pub(super) fn names(&self) -> KnownNames {
        let mut names = KnownNames::default();
        let mut found: Vec<_> = self.answers.iter().collect();
        found.sort_by(|((_, one), _), ((_, other), _)| one.cmp(other));
        for ((sort, name), answer) in found {
            let Ok(Some(id)) = answer else { continue };
            match sort {
                Sort::User => names.users.entry(Uid(*id)).or_insert_with(|| name.clone()),
                Sort::Group => names.groups.entry(Gid(*id)).or_insert_with(|| name.clone()),
            };
        }
        names
    }

    fn by_name(
        &mut self,
        name: &str,
        span: &Span,
        sort: Sort,
        report: &mut Report<'_>,
    ) -> Option<Meant> {
        let noun = sort.noun();
        if name.len() > LONGEST_ID {
            let remedy = format!("write at most {LONGEST_ID} bytes");
            report.add(span, format!("the name of this {noun} is too long"), remedy);
            return None;
        }
        // The policy is refused already: whom else it names need not be looked up.
        if report.is_full() {
            return None;
        }
        Some(match self.look_up(name, sort) {
            Ok(Some(id)) => Meant::Id(*id),
            // A number in quotes is a mistake, and no account that was removed.
            Ok(None) if is_number(name) => {
                report.add(span, sort.absent(name), sort.remedy(name));
                return None;
            }
            Ok(None) => Meant::Absent,
            Err(LookupError(reason)) => Meant::Unknown(reason.clone()),
        })
    }

    fn look_up(&mut self, name: &str, sort: Sort) -> &Answer {
        let names = self.names;
        self.answers.entry((sort, name.to_owned())).or_insert_with(|| match sort {
            Sort::User => names.user(name).map(|user| user.map(|Uid(id)| id)),
            Sort::Group => names.group(name).map(|group| group.map(|Gid(id)| id)),
        })
    }
}

fn by_number(value: &Value<'_>, sort: Sort, report: &mut Report<'_>) -> Option<u32> {
    let Some(integer) = value.get_ref().as_integer() else {
        wrong_type(value, sort.expected(), report);
        return None;
    };
    // The greatest number is (uid_t) -1, which the kernel takes for "nobody at all".
    let id =
        number(integer).and_then(|number| u32::try_from(number).ok()).filter(|id| *id != u32::MAX);
    if id.is_none() {
        let message = format!("{integer} cannot be the number of a {}", sort.noun());
        report.add(&value.span(), message, format!("write a number from 0 to {}", u32::MAX - 1));
    }
    id
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

impl Sort {
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    pub(super) const fn expected(self) -> Expected {
        match self {
            Self::User => Expected { key: "user", write: "a user's name in quotes, or a number" },
            Self::Group => {
                Expected { key: "group", write: "a group's name in quotes, or a number" }
            }
        }
    }

    pub(super) fn absent(self, name: &str) -> String {
        format!("there is no {} \"{name}\"", self.noun())
    }

    pub(super) fn unknown(self, name: &str, reason: &str) -> String {
        format!("the {} \"{name}\" could not be looked up: {reason}", self.noun())
    }

    pub(super) fn remedy_of_lookup(self) -> String {
        format!("repair the lookup and load again, or write the {}'s number", self.noun())
    }

    pub(super) fn remedy(self, name: &str) -> String {
        let noun = self.noun();
        if is_number(name) {
            return format!("a number is written without quotes: `{noun} = {name}`");
        }
        format!("create the {noun}, correct the name, or write a number")
    }
}
