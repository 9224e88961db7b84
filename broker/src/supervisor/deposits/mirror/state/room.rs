//! What finds no room in the store, and when there is some.

use std::io;
use std::ops::Bound;
use std::rc::Rc;

use fdbroker_wire::{Index, Slot, Tag};

use super::mirrored::State;
use super::stored::NotStored;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::content::Place;
use crate::supervisor::deposits::mirror::objects::Objects;
use crate::supervisor::deposits::mirror::positions::Key;
use crate::supervisor::deposits::mirror::store::Name;

/// How many deposits that found no room are stored with one change.
const STORED_AT_ONCE: usize = 16;
const LAST_SLOT: Slot = Slot { tag: Tag::MAX, index: Index::MAX };

impl State {
    /// Stores some of the deposits that found no room, if there is room by now.
    pub(super) fn use_room(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.has_new_room) {
            return Ok(());
        }
        let at_once = if self.objects.is_bounded() { 1 } else { STORED_AT_ONCE };
        if at_once == 1 && !self.orders.has_stored_all() {
            self.has_new_room = true;
            return Ok(());
        }
        for _ in 0..at_once {
            let Some(kept) = self.next_with_room() else { return Ok(()) };
            self.without_room.remove(&(kept.payer, kept.slot));
            self.content.remove(kept.slot);
            let found = self.place(&kept);
            if found == Err(NotStored::WithoutRoom) {
                self.without_room.insert((kept.payer, kept.slot), Rc::clone(&kept));
            }
            let place = found.unwrap_or(Place::Here);
            self.content.insert(&kept, place);
            self.append(Key::Deposit(kept.slot))?;
        }
        self.has_new_room = true;
        Ok(())
    }

    /// A deposit for which there is room now, of the user who has least in the store.
    fn next_with_room(&self) -> Option<Rc<Kept>> {
        let mut behind = Bound::Unbounded;
        let first_of_each = std::iter::from_fn(|| {
            let mut later = self.without_room.range((behind, Bound::Unbounded));
            let ((payer, _), kept) = later.next()?;
            behind = Bound::Excluded((*payer, LAST_SLOT));
            Some(kept)
        });
        let with_room = first_of_each.filter(|kept| self.objects.has_room(kept.payer));
        with_room.min_by_key(|kept| self.objects.owned(kept.payer)).map(Rc::clone)
    }

    /// The service manager has read and stored all that was sent. Returns whether it has more room than it had.
    pub(in super::super) fn accept_last(&mut self) -> bool {
        self.orders.read();
        let has_more = self.objects.accept_last(self.orders.unsent());
        self.has_new_room |= has_more;
        has_more
    }

    /// Stores one more, to see whether a store that was full has room by now.
    pub(in super::super) fn try_room(&mut self) {
        self.objects.try_one();
        self.has_new_room = true;
    }

    /// The service manager has not kept all that was sent last. It does not say what of it: none of that counts.
    ///
    /// # Errors
    /// When the journal cannot be written. Nothing of it counts all the same.
    pub(in super::super) fn refuse_last(&mut self) -> io::Result<()> {
        let refused = self.orders.read();
        self.objects.refuse_last(self.orders.unsent());
        let mut written = Ok(());
        for name in refused {
            let Name::Object(number) = name else { continue };
            self.awaited.remove(&number);
            for kept in self.objects.holders(number) {
                written = written.and(self.take_back(&kept));
            }
        }
        written
    }

    /// Takes a deposit or a lease out that the service manager may not have kept.
    fn take_back(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        if let Some(lease) = self.content.lease_of(kept) {
            return self.end_lease(lease);
        }
        if self.content.is_former(kept) {
            return self.cancel_former(kept.slot);
        }
        let entered = self.content.deposit(kept.slot);
        if entered.is_none_or(|entered| !Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        if self.content.holds_former(kept.slot) {
            return self.fall_back(kept);
        }
        let left = self.leave(kept);
        self.content.insert(kept, Place::Here);
        self.without_room.insert((kept.payer, kept.slot), Rc::clone(kept));
        left
    }

    /// The journal itself was not kept: nothing outlives this process.
    pub(in super::super) fn give_up_all(&mut self) {
        (self.positions, self.content) = Default::default();
        (self.orders, self.without_room) = Default::default();
        (self.awaited, self.ready) = Default::default();
        self.objects = Objects::new(0);
    }
}
