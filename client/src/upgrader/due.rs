//! Depositing and deleting at the broker what the inventory says is due.

use fdbroker_wire::Tag;

use super::inventory::Inventory;
use crate::{Broker, Error, NewDeposit};

/// One that the broker did not deposit or delete, among many.
pub(crate) struct NotDone {
    pub(crate) name: String,
    pub(crate) source: Error,
}

/// Makes every deposit that is due; returns the first failure, after all were tried.
pub(crate) fn deposit_all(
    broker: &mut Broker,
    tag: Tag,
    inventory: &mut Inventory,
) -> Result<Result<(), NotDone>, Error> {
    let due = inventory.due().deposits;
    let as_new = |(_, index, descriptor, payload): &(_, _, _, Vec<u8>)| {
        (*index, *descriptor, payload.clone())
    };
    let kept: Vec<_> = due.iter().map(as_new).collect();
    let new: Vec<_> = kept
        .iter()
        .map(|(index, descriptor, payload)| NewDeposit {
            index: *index,
            descriptor: *descriptor,
            payload,
        })
        .collect();
    let done = broker.add_many(tag, &new)?;
    let names: Vec<String> = due.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut first = Ok(());
    for (name, done) in names.into_iter().zip(done) {
        match done {
            Ok(()) => inventory.was_deposited(&name),
            Err(source) => first = first.and(Err(NotDone { name, source })),
        }
    }
    Ok(first)
}

/// Deletes every unwanted deposit; returns the first failure, after all were tried.
pub(crate) fn delete_all(
    broker: &mut Broker,
    tag: Tag,
    inventory: &mut Inventory,
) -> Result<Result<(), NotDone>, Error> {
    let unwanted = inventory.due().unwanted;
    let mut first = Ok(());
    for (index, done) in unwanted.iter().zip(broker.del_many(tag, &unwanted)?) {
        match done {
            Ok(()) | Err(Error::Absent { .. }) => inventory.was_deleted(*index),
            Err(source) => {
                let name = fdbroker_wire::Slot { tag, index: *index }.to_string();
                first = first.and(Err(NotDone { name, source }));
            }
        }
    }
    Ok(first)
}
