//! A broker that is connected to on first use, and the slots and tags that names mean.
//!
//! A number needs no broker. A name is asked of the broker, or looked up in the policy file of
//! `--policy`; in the default policy file if the broker is too old to be asked.

use fdbroker::{Broker, Error, Found, Index, Slot, Tag};
use fdbroker_types::quoted;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::policy_names::PolicyNames;

/// A broker, and names.
#[derive(Debug)]
pub(crate) struct LazyBroker<'a> {
    args: &'a ConnectArgs,
    broker: Option<Broker>,
    /// The policy file that counts instead of the broker.
    policy: Option<PolicyNames>,
}

impl<'a> LazyBroker<'a> {
    /// Asks nothing yet.
    pub(crate) fn new(args: &'a ConnectArgs) -> Self {
        let policy = args.policy().map(PolicyNames::new);
        Self { args, broker: None, policy }
    }

    /// The broker, connected to.
    pub(crate) fn broker(&mut self) -> Result<&mut Broker, Failure> {
        match self.broker {
            Some(ref mut broker) => Ok(broker),
            None => Ok(self.broker.insert(self.args.connect()?)),
        }
    }

    /// The broker, for itself.
    pub(crate) fn into_broker(self) -> Result<Broker, Failure> {
        self.broker.map_or_else(|| self.args.connect(), Ok)
    }

    /// The slot that a text means.
    pub(crate) fn slot(&mut self, text: &str) -> Result<Slot, Failure> {
        if let Ok(slot) = text.parse() {
            return Ok(slot);
        }
        in_range(text)?;
        match self.find(text)? {
            Some(Found::Slot(slot) | Found::Resource(slot)) => Ok(slot),
            Some(Found::Tag(_)) => Err(Failure::Usage(format!(
                "slot {shown}: that is a tag; name a slot in it, such as {text}/0",
                shown = quoted(text)
            ))),
            None => self.policy().slot(text),
        }
    }

    /// The tag that a text means.
    pub(crate) fn tag(&mut self, text: &str) -> Result<Tag, Failure> {
        if let Ok(tag) = text.parse() {
            return Ok(tag);
        }
        tag_in_range("tag", text, text)?;
        match self.find(text)? {
            Some(Found::Tag(tag)) => Ok(tag),
            Some(Found::Slot(slot) | Found::Resource(slot)) => Err(Failure::Usage(format!(
                "tag {text}: that is a slot, {slot}; its tag is {}",
                slot.tag,
                text = quoted(text)
            ))),
            None => self.policy().tag(text),
        }
    }

    /// Asks the broker what a name means; `None` if it is to be looked up in a policy file.
    fn find(&mut self, name: &str) -> Result<Option<Found>, Failure> {
        if self.policy.is_some() {
            return Ok(None);
        }
        match self.broker()?.find(name) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Version1 { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn policy(&mut self) -> &mut PolicyNames {
        self.policy.get_or_insert_with(PolicyNames::of_this_machine)
    }
}

/// Refuses a slot one of whose numbers is too large: looking it up as a name could not help.
fn in_range(text: &str) -> Result<(), Failure> {
    let Some((tag, index)) = text.split_once('/') else { return Ok(()) };
    tag_in_range("slot", text, tag)?;
    match is_number(index) && index.parse::<Index>().is_err() {
        true => Err(Failure::Usage(format!(
            "slot {text}: the index is too large; it is a number from 0 to {}",
            i32::MAX,
            text = quoted(text)
        ))),
        false => Ok(()),
    }
}

fn tag_in_range(what: &str, text: &str, tag: &str) -> Result<(), Failure> {
    match is_number(tag) && tag.parse::<Tag>().is_err() {
        true => Err(Failure::Usage(format!(
            "{what} {text}: the tag is too large; it is a name, or a number from 0 to {}",
            i16::MAX,
            text = quoted(text)
        ))),
        false => Ok(()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
