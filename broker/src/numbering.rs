//! Slots and tags, as the wire numbers them and as the policy does. What one of the two cannot number
//! is none.

use fdbroker_wire::{Index, Slot, Tag};

/// A slot of the wire, as the policy numbers it.
pub(crate) fn policy_slot(slot: Slot) -> Option<fdbroker_policy::Slot> {
    let index = u32::try_from(slot.index.get()).ok().and_then(fdbroker_policy::Index::new)?;
    Some(fdbroker_policy::Slot { tag: policy_tag(slot.tag)?, index })
}

/// A tag of the wire, as the policy numbers it.
pub(crate) fn policy_tag(tag: Tag) -> Option<fdbroker_policy::Tag> {
    u16::try_from(tag.get()).ok().and_then(fdbroker_policy::Tag::new)
}

/// A slot of the policy, as the wire numbers it.
pub(crate) fn wire_slot(slot: fdbroker_policy::Slot) -> Option<Slot> {
    Some(Slot {
        tag: wire_tag(slot.tag)?,
        index: Index::new(i32::try_from(slot.index.get()).ok()?)?,
    })
}

/// A tag of the policy, as the wire numbers it.
pub(crate) fn wire_tag(tag: fdbroker_policy::Tag) -> Option<Tag> {
    i16::try_from(tag.get()).ok().and_then(Tag::new)
}
