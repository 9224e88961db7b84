//! Owners of tags, and leases of connections.

use std::io;
use std::rc::Rc;

use fdbroker_wire::Tag;

use super::mirrored::State;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::content::Held;
use crate::supervisor::deposits::mirror::journal::Record;
use crate::supervisor::deposits::mirror::leased::Leased;
use crate::supervisor::deposits::mirror::object_number::ObjectNumber;
use crate::supervisor::deposits::mirror::objects::Numbered;
use crate::supervisor::deposits::mirror::positions::Key;

impl State {
    /// A tag has another owner, or none that can be told from others.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(in super::super) fn own(
        &mut self,
        tag: Tag,
        owner: Option<ProcessIdentity>,
    ) -> io::Result<()> {
        if !self.content.own(tag, owner) {
            return Ok(());
        }
        match owner {
            Some(_) => self.append(Key::Owner(tag)),
            None => {
                self.positions.remove(Key::Owner(tag));
                self.journal.append(&Record::Owned(tag, None)).map(drop)
            }
        }
    }

    /// Whether it has a lease.
    pub(in super::super) fn has_lease(&self, number: u64) -> bool {
        self.content.has_lease(number)
    }

    /// A lease of a connection has begun.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(in super::super) fn lease(
        &mut self,
        leased: Leased,
        connection: Rc<Kept>,
    ) -> io::Result<()> {
        let number = leased.lease.number;
        let Ok(object) = self.object(&connection) else { return Ok(()) };
        self.content.lease(Held { leased, connection, object });
        self.append(Key::Lease(number))
    }

    /// The same of one that the journal has, whose connection is stored.
    ///
    /// # Errors
    /// As [`State::lease`].
    pub(in super::super) fn lease_again(
        &mut self,
        leased: Leased,
        connection: Rc<Kept>,
        object: ObjectNumber,
    ) -> io::Result<()> {
        let number = leased.lease.number;
        let added = self.objects.add(&connection, Some(object))?;
        let Some(Numbered { number: object, .. }) = added else { return Ok(()) };
        self.content.lease(Held { leased, connection, object });
        self.append(Key::Lease(number))
    }

    /// A lease has ended.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(in super::super) fn end_lease(&mut self, number: u64) -> io::Result<()> {
        let Some(Held { leased, connection, .. }) = self.content.end_lease(number) else {
            return Ok(());
        };
        self.give_up(&connection);
        self.positions.remove(Key::Lease(number));
        self.journal.append(&Record::Ended(&leased)).map(drop)
    }
}
