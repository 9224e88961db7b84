//! What a request is about, looked up once in the policy: a slot, some slots or a tag.

use fdbroker_policy::{Durability, Policy, Resource, ResourceIndex, TagSettings, Target};
use fdbroker_wire::{Index, Slot, Tag};

use crate::log::{Name, Subject};

/// A slot, a run of them or a whole tag, with what the policy says of it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    /// `None` for what is neither a slot nor a tag.
    pub(crate) tag: Option<Tag>,
    /// What to decide about; `None` if the policy does not know it.
    pub(crate) target: Option<Target>,
    /// The tag's settings; `None` if the policy does not declare the tag.
    pub(crate) settings: Option<&'p TagSettings>,
    /// The resource that fills the slot, if one does.
    pub(crate) resource: Option<(ResourceIndex, &'p Resource)>,
    slot: Option<Slot>,
    /// The last one, where it is a run of slots.
    last: Option<Index>,
    /// How many of these slots it is, where it is not all of them.
    some: Option<u32>,
    /// The name that was asked for, where the policy knows none such.
    asked: Option<&'p str>,
}

impl<'p> Place<'p> {
    /// One slot.
    pub(crate) fn slot(policy: &'p Policy, slot: Slot) -> Self {
        Self {
            tag: Some(slot.tag),
            target: Some(Target::Slot(slot)),
            settings: policy.tag(slot.tag),
            resource: policy.resource_at(slot),
            slot: Some(slot),
            ..Self::nowhere()
        }
    }

    /// The slots of the same tag from a first to a last one, of which the same is to be said.
    pub(crate) fn run(&self, first: Slot, last: Index) -> Self {
        Self { slot: Some(first), last: (first.index < last).then_some(last), ..*self }
    }

    /// So many slots of the same tag between a first and a last one, of which the same is to be said.
    pub(crate) fn within(&self, first: Slot, last: Index, slots: u32) -> Self {
        Self { some: Some(slots), ..self.run(first, last) }
    }

    /// A whole tag.
    pub(crate) fn tag(policy: &'p Policy, tag: Tag) -> Self {
        Self {
            tag: Some(tag),
            target: Some(Target::Tag(tag)),
            settings: policy.tag(tag),
            ..Self::nowhere()
        }
    }

    /// The broker itself.
    pub(crate) fn broker() -> Self {
        Self { target: Some(Target::Broker), ..Self::nowhere() }
    }

    /// What is nothing that the policy knows: nobody has a right to it.
    pub(crate) fn nowhere() -> Self {
        Self {
            tag: None,
            target: None,
            settings: None,
            resource: None,
            slot: None,
            last: None,
            some: None,
            asked: None,
        }
    }

    /// The same, of which a peer has said the name.
    pub(crate) fn unknown(name: &'p str) -> Self {
        Self { asked: Some(name), ..Self::nowhere() }
    }

    /// Whether one session at a time may have the tag.
    /// Whether a change is answered only once it outlives the broker.
    pub(crate) fn is_strict(&self) -> bool {
        self.settings.is_some_and(|settings| settings.durability == Durability::Strict)
    }

    pub(crate) fn is_serial(&self) -> bool {
        self.settings.is_some_and(|settings| settings.serial)
    }

    pub(crate) fn subject(&self) -> Subject {
        match (self.slot, self.last, self.tag) {
            (Some(first), Some(last), _) => match self.some {
                Some(slots) => Subject::Within(first, last, slots),
                None => Subject::Run(first, last),
            },
            (Some(slot), None, _) => Subject::Slot(slot),
            (None, _, Some(tag)) => Subject::Tag(tag),
            (None, _, None) => Subject::Nothing,
        }
    }

    /// What the policy calls it; or what the peer did, where the policy knows none such.
    pub(crate) fn name(&self) -> Name<'p> {
        match (self.resource, self.settings, self.slot) {
            (Some((_, resource)), _, _) => Name::Plain(&resource.name),
            (None, Some(settings), Some(slot)) => match self.last {
                Some(last) => Name::Run(&settings.name, slot.index, last),
                None => Name::Indexed(&settings.name, slot.index),
            },
            (None, Some(settings), None) => Name::Plain(&settings.name),
            (None, None, _) => self.asked.map_or(Name::None, Name::Plain),
        }
    }
}
