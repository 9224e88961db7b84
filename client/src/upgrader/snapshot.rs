//! The deposits of a tag: fetched as a whole, and compared with those of before.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use fdbroker_wire::{Index, Tag};

use crate::{Broker, Deposit, Error};

/// Up to here each slot is asked for. A tag with a larger index is listed first, which takes the
/// right `list`.
const DENSE: i32 = 65536;

/// A digest of all deposits of the tag, without their descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Snapshot(u64);

/// Each slot of a tag that is not empty, with its deposit; `None` if the broker does not show that.
pub(crate) type Fetched = Vec<(Index, Option<Deposit>)>;

/// Fetches everything in a tag but the policy's own.
pub(crate) fn fetch(broker: &mut Broker, tag: Tag) -> Result<(Fetched, Snapshot), Error> {
    let (wanted, resources) = slots(broker, tag)?;
    let mut hasher = DefaultHasher::new();
    let mut fetched: Fetched = resources.into_iter().map(|index| (index, None)).collect();
    for (index, found) in broker.get_many(tag, &wanted)? {
        match found {
            Ok(deposit) => {
                (index.get(), deposit.ufd, &deposit.payload).hash(&mut hasher);
                fetched.push((index, Some(deposit)));
            }
            Err(Error::Absent { .. }) => {}
            Err(Error::Refused { .. }) => fetched.push((index, None)),
            Err(error) => return Err(error),
        }
    }
    fetched.sort_by_key(|(index, _)| *index);
    Ok((fetched, Snapshot(hasher.finish())))
}

/// The slots that may hold a deposit, and those that the policy fills: to get one of these would
/// open it.
fn slots(broker: &mut Broker, tag: Tag) -> Result<(Vec<Index>, BTreeSet<Index>), Error> {
    let used = broker.tag(tag)?.used;
    let listed = broker.list(Some(tag))?;
    let mut resources = BTreeSet::new();
    let mut deposits = Vec::new();
    for entry in listed {
        match entry.resource {
            true => drop(resources.insert(entry.slot.index)),
            false => deposits.push(entry.slot.index),
        }
    }
    if used <= DENSE {
        let all = (0..used).filter_map(Index::new);
        deposits = all.filter(|index| !resources.contains(index)).collect();
    }
    Ok((deposits, resources))
}
