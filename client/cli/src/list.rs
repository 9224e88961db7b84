//! `fdbroker list`: which slots there are.

use clap::Args;
use serde_json::{Value, json};

use fdbroker::{Broker, Error, Inspected, Listed, Slot, Tag};
use fdbroker_types::escape;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::inspect::{Object, UserNames, age};
use crate::lazy_broker::LazyBroker;
use crate::output::{self, NONE};
use crate::terminal;

/// List the slots that you may see, and their deposits
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct List {
    /// Only those of this tag, such as 10 or web
    tag: Option<String>,
    /// Write one JSON array instead, of objects with: slot, name, kind, resource, relay,
    /// unreachable, here_only, owner, user, payload_bytes, pid, unit, since, age (in seconds),
    /// address
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker list                  everything, as a table
  fdbroker list web
  fdbroker list --json | jq -r '.[] | select(.unreachable) | .slot'

With the right inspect, every slot that holds something is listed, with all that is known of it. Else
a slot is listed if a rule grants you the right list on it. If there is none, standard output is
empty and standard error says so. Operators see OWNER, BYTES (of payload) and slots that no rule
reaches. UNIT is that of the process which left the deposit. AGE is how long it has been there.
ADDRESS is where a socket is bound, and behind > its peer. NOTE says of a connection how it leads to
the server: direct, relayed, or ktls-or-relayed. A deposit that is here-only is lost when the broker ends,
although systemd keeps others. Unknown and hidden values are shown as -, and as null in JSON; columns
without any value are left out.";

impl List {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let tag = self.tag.as_deref().map(|tag| lazy.tag(tag)).transpose()?;
        let listed = lazy.broker()?.list(tag)?;
        // Only they are told who left it.
        let may_know_all = listed.iter().any(|listed| listed.owner.is_some());
        let all = may_know_all.then(|| all(lazy.broker()?, tag)).transpose()?.flatten();
        let listed = all.unwrap_or_else(|| listed.into_iter().map(Shown::from).collect());
        let mut names = UserNames::default();
        if self.json {
            return output::json(&listed.iter().map(|shown| shown.object(&mut names)).collect());
        }
        if listed.is_empty() {
            let of = self.tag.map_or(String::new(), |tag| format!(" of {}", escape(&tag)));
            terminal::complain(format_args!(
                "fdbroker: nothing is listed: no slot{of} holds anything that you have the right `list` to"
            ));
            return Ok(());
        }
        let rows = listed.iter().map(|shown| shown.row(&mut names)).collect();
        output::table_of_what_is_there(HEADINGS, rows)
    }
}

/// All slots that hold something, of a tag or of all; `None` if the broker does not tell everything.
fn all(broker: &mut Broker, tag: Option<Tag>) -> Result<Option<Vec<Shown>>, Failure> {
    let told = match broker.inspect(Inspected::Slots) {
        Err(Error::Refused { .. } | Error::Unserved { .. } | Error::Version1 { .. }) => {
            return Ok(None);
        }
        told => told?,
    };
    let mut shown: Vec<_> = Object::all(&told)?.iter().filter_map(Shown::of).collect();
    shown.retain(|shown| tag.is_none_or(|tag| shown.slot.tag == tag));
    Ok(Some(shown))
}

const HEADINGS: [&str; 9] =
    ["SLOT", "NAME", "KIND", "OWNER", "UNIT", "AGE", "BYTES", "ADDRESS", "NOTE"];

/// One slot, as far as it is told.
struct Shown {
    slot: Slot,
    name: String,
    kind: Option<String>,
    resource: bool,
    relay: Option<String>,
    unreachable: bool,
    here_only: bool,
    owner: Option<u32>,
    payload: Option<u32>,
    pid: Option<u32>,
    unit: Option<String>,
    since: Option<String>,
    age: Option<u64>,
    address: Option<String>,
}

impl From<Listed> for Shown {
    fn from(listed: Listed) -> Self {
        Self {
            slot: listed.slot,
            name: listed.name,
            kind: listed.kind.map(|kind| kind.name().to_owned()),
            resource: listed.resource,
            relay: listed.route.map(|route| route.name().to_owned()),
            unreachable: listed.unreachable,
            here_only: listed.here_only,
            owner: listed.owner,
            payload: listed.payload,
            pid: None,
            unit: None,
            since: None,
            age: None,
            address: None,
        }
    }
}

impl Shown {
    /// `None` if it is of no slot.
    fn of(object: &Object) -> Option<Self> {
        let text = |key| object.text(key).map(str::to_owned);
        Some(Self {
            slot: object.text("slot")?.parse().ok()?,
            name: text("name").unwrap_or_default(),
            kind: text("kind"),
            resource: object.is("resource"),
            relay: text("relay"),
            unreachable: object.is("unreachable"),
            here_only: object.is("here_only"),
            owner: object.id("uid"),
            payload: object.id("bytes"),
            pid: object.id("pid"),
            unit: text("unit"),
            since: text("since"),
            age: object.number("age"),
            address: text("address"),
        })
    }

    fn object(&self, names: &mut UserNames) -> Value {
        json!({
            "slot": self.slot.to_string(),
            "name": self.name,
            "kind": self.kind,
            "resource": self.resource,
            "relay": self.relay,
            "unreachable": self.unreachable,
            "here_only": self.here_only,
            "owner": self.owner,
            "user": self.owner.and_then(|uid| names.name(uid)),
            "payload_bytes": self.payload,
            "pid": self.pid,
            "unit": self.unit,
            "since": self.since,
            "age": self.age,
            "address": self.address,
        })
    }

    fn row(&self, names: &mut UserNames) -> [String; 9] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let name = match self.name.as_str() {
            "" => NONE.to_owned(),
            // One word: a cell has no space in it.
            name => name.replace(' ', "\\u{20}"),
        };
        [
            self.slot.to_string(),
            name,
            or_none(self.kind.clone()),
            or_none(self.owner.map(|uid| names.shown(uid))),
            or_none(self.unit.clone()),
            or_none(self.age.map(age)),
            or_none(self.payload.map(|bytes| bytes.to_string())),
            or_none(self.address.clone()),
            self.note(),
        ]
    }

    fn note(&self) -> String {
        let notes = [
            self.resource.then_some("resource"),
            self.relay.as_deref(),
            self.unreachable.then_some("unreachable"),
            self.here_only.then_some("here-only"),
        ];
        let notes: Vec<_> = notes.into_iter().flatten().collect();
        if notes.is_empty() { NONE.to_owned() } else { notes.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use fdbroker::Kind;

    #[test]
    fn kinds_are_called_as_in_a_policy() {
        for kind in Kind::ALL {
            assert!(kind.name().parse::<fdbroker_policy::Kind>().is_ok(), "{}", kind.name());
        }
        assert_eq!(Kind::ALL.len(), fdbroker_policy::Kind::ALL.len());
    }
}
