//! Deposits that come and leave.

use std::io;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::mirrored::State;
use super::stored::NotStored;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::content::{Entered, Place};
use crate::supervisor::deposits::mirror::journal::{At, Record};
use crate::supervisor::deposits::mirror::object_number::ObjectNumber;
use crate::supervisor::deposits::mirror::orders::Order;
use crate::supervisor::deposits::mirror::positions::Key;
use crate::supervisor::deposits::mirror::store::Name;

impl State {
    /// Enters a deposit, in the place of what is in its slot: that comes back until the new one may. With `is_strict`
    /// it does so also where the new one never comes back.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(in super::super) fn keep(&mut self, kept: &Rc<Kept>, is_strict: bool) -> io::Result<()> {
        let slot = kept.slot;
        if self.content.deposit(slot).is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        let found = self.place(kept);
        let place = found.unwrap_or(Place::Here);
        let replaced = match place {
            Place::Here if !is_strict => self.leave_slot(slot),
            _ => self.replace(slot, is_strict),
        };
        self.content.insert(kept, place);
        if found == Err(NotStored::WithoutRoom) && !self.content.has_former(slot) {
            self.without_room.insert((kept.payer, slot), Rc::clone(kept));
        }
        self.await_stored(slot, place);
        replaced.and_then(|()| self.append(Key::Deposit(slot)))
    }

    /// Enters a deposit that the journal has, whose descriptor is stored under `number`, if it has one.
    pub(in super::super) fn enter(
        &mut self,
        kept: &Rc<Kept>,
        number: Option<ObjectNumber>,
        at: At,
    ) {
        let added = number.map(|number| self.objects.add(kept, Some(number)));
        let place = match added {
            None => Place::Journal,
            Some(Ok(Some(found))) => Place::Store(found.number),
            // It is not known from others: it is not mirrored any more.
            Some(Ok(None) | Err(_)) => {
                let name = number.map(Name::Object);
                name.into_iter().for_each(|name| self.orders.push(None, Order::Remove(name)));
                Place::Here
            }
        };
        self.content.insert(kept, place);
        if place != Place::Here {
            self.positions.set(Key::Deposit(kept.slot), at);
        }
    }

    /// Takes a deposit out, if it is there.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(in super::super) fn leave(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let entered = self.content.deposit(kept.slot);
        if !entered.is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        self.leave_slot(kept.slot)
    }

    /// Takes out what is in a slot, and what was there before.
    pub(super) fn leave_slot(&mut self, slot: Slot) -> io::Result<()> {
        let (entered, former) = (self.content.remove(slot), self.content.remove_former(slot));
        entered.iter().for_each(|Entered { kept, .. }| self.needs_no_room(kept));
        let mut left = Vec::new();
        for (entered, key) in [(entered, Key::Deposit(slot)), (former, Key::Former(slot))] {
            let Some(entered) = entered.filter(|entered| entered.place != Place::Here) else {
                continue;
            };
            self.give_up(&entered.kept);
            left.push((self.positions.remove(key), entered.kept.payload.len()));
        }
        if !left.is_empty() {
            self.journal.append(&Record::Left(slot))?;
        }
        left.into_iter().try_for_each(|(at, payload)| self.wipe(at, payload))
    }

    /// Finds a place for a deposit, and has its descriptor sent there.
    pub(super) fn place(&mut self, kept: &Rc<Kept>) -> Result<Place, NotStored> {
        if kept.descriptor.is_none() {
            return Ok(Place::Journal);
        }
        self.object(kept).map(Place::Store)
    }
}
