//! Deposits that were replaced, and stay in the journal and in the store until the next ones are there.

use std::io;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::mirrored::State;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::content::{Entered, Place};
use crate::supervisor::deposits::mirror::journal;
use crate::supervisor::deposits::mirror::positions::Key;
use crate::supervisor::deposits::mirror::store::Name;

impl State {
    /// Takes out the deposit of a slot, which another one replaces. If it is in the journal, it is the former one
    /// from now on, unless there is one already.
    pub(super) fn replace(&mut self, slot: Slot, is_held: bool) -> io::Result<()> {
        match self.content.replace(slot, is_held) {
            Some(overtaken) => self.overtake(&overtaken),
            None => {
                let at = self.positions.remove(Key::Deposit(slot));
                at.into_iter().for_each(|at| self.positions.set(Key::Former(slot), at));
                Ok(())
            }
        }
    }

    /// A deposit was replaced before it was the one that comes back. The former one, if there is one, is the newest
    /// in the journal again.
    pub(super) fn overtake(&mut self, Entered { kept, place }: &Entered) -> io::Result<()> {
        let slot = kept.slot;
        self.needs_no_room(kept);
        if *place == Place::Here {
            return Ok(());
        }
        self.give_up(kept);
        let own = self.positions.remove(Key::Deposit(slot));
        let former = self.positions.remove(Key::Former(slot));
        let size = self.append_again(Key::Former(slot))?;
        self.wipe(own, kept.payload.len())?;
        self.wipe(former, size.saturating_sub(journal::size(0)))
    }

    /// Notes when the former deposit of a slot is of no use any more.
    pub(super) fn await_stored(&mut self, slot: Slot, place: Place) {
        match place {
            _ if !self.content.has_former(slot) => {}
            Place::Store(object) if self.orders.is_unread(Name::Object(object)) => {
                self.awaited.entry(object).or_default().insert(slot);
            }
            Place::Store(_) | Place::Journal => drop(self.ready.insert(slot)),
            Place::Here => {}
        }
    }

    /// The service manager has read everything that was sent.
    pub(in super::super) fn read(&mut self) {
        for name in self.orders.read() {
            let Name::Object(object) = name else { continue };
            self.ready.extend(self.awaited.remove(&object).into_iter().flatten());
        }
    }

    /// Gives up the former deposits of the slots whose next ones come back.
    pub(super) fn give_up_formers(&mut self) -> io::Result<()> {
        let ready = std::mem::take(&mut self.ready);
        ready.into_iter().try_for_each(|slot| self.give_up_former(slot))
    }

    fn give_up_former(&mut self, slot: Slot) -> io::Result<()> {
        let place = self.content.deposit(slot).map(|entered| entered.place);
        let comes_back = match place {
            Some(Place::Store(object)) => !self.orders.is_unread(Name::Object(object)),
            Some(Place::Journal) => true,
            Some(Place::Here) | None => false,
        };
        if comes_back { self.cancel_former(slot) } else { Ok(()) }
    }

    /// Gives up the former deposit of a slot.
    pub(super) fn cancel_former(&mut self, slot: Slot) -> io::Result<()> {
        let Some(Entered { kept, .. }) = self.content.remove_former(slot) else { return Ok(()) };
        self.give_up(&kept);
        let at = self.positions.remove(Key::Former(slot));
        at.map_or(Ok(()), |at| self.journal.cancel(at, kept.payload.len()))
    }

    /// Takes out a deposit that was refused: the former one of its slot stays.
    pub(super) fn fall_back(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let refused = self.content.remove(kept.slot);
        self.content.insert(kept, Place::Here);
        refused.map_or(Ok(()), |refused| self.overtake(&refused))
    }
}
