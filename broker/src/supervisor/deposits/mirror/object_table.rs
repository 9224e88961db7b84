//! Open file descriptions, found by the file that each is of, and among those of one file by kcmp(2).
//!
//! Most are the only one of their file: a socket, a pipe, memory. The kernel compares two only where files are the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use super::object_number::ObjectNumber;
use crate::fd::PeerFd;
use crate::fd::kind::{FileNumber, file_number};
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;
use crate::sys::same::compare;

/// One, and the deposits that have it. The last that had it stays until the store does not have it any more: it may
/// be deposited again before that, and the store would take no second one.
pub(super) struct Object {
    pub(super) number: ObjectNumber,
    /// On whose account it is.
    pub(super) payer: Payer,
    pub(super) holders: Vec<Rc<Kept>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct ObjectTable {
    /// Those of each file in the kernel's order.
    files: BTreeMap<FileNumber, Vec<Object>>,
    /// The file of each.
    numbers: BTreeMap<ObjectNumber, FileNumber>,
}

/// Where one is, or belongs.
pub(super) struct Spot {
    file: FileNumber,
    at: usize,
}

impl ObjectTable {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Where the open file description of this descriptor is, or where it belongs.
    ///
    /// # Errors
    /// As kcmp(2) and statx(2).
    pub(super) fn position(&self, wanted: BorrowedFd<'_>) -> io::Result<Result<Spot, Spot>> {
        let file = file_number(wanted)?;
        let objects = self.files.get(&file).map(Vec::as_slice).unwrap_or_default();
        let mut failed = None;
        let found = objects.binary_search_by(|object| {
            let own = object.holders.first().and_then(descriptor);
            let compared =
                own.map_or(Err(io::ErrorKind::NotFound.into()), |own| compare(own, wanted));
            compared.unwrap_or_else(|error| {
                failed = Some(error);
                Ordering::Equal
            })
        });
        let found = found.map(|at| Spot { file, at }).map_err(|at| Spot { file, at });
        failed.map_or(Ok(found), Err)
    }

    pub(super) fn at(&mut self, Spot { file, at }: Spot) -> Option<&mut Object> {
        self.files.get_mut(&file)?.get_mut(at)
    }

    /// The one that a deposit has, though its file has another number now.
    pub(super) fn holding(&mut self, kept: &Rc<Kept>) -> Option<&mut Object> {
        let is_held = |object: &&mut Object| object.holders.iter().any(|it| Rc::ptr_eq(it, kept));
        self.files.values_mut().flatten().find(is_held)
    }

    pub(super) fn with(&self, number: ObjectNumber) -> Option<&Object> {
        let objects = self.files.get(self.numbers.get(&number)?)?;
        objects.iter().find(|object| object.number == number)
    }

    pub(super) fn insert(&mut self, Spot { file, at }: Spot, object: Object) {
        self.numbers.insert(object.number, file);
        let objects = self.files.entry(file).or_default();
        objects.insert(at.min(objects.len()), object);
    }

    pub(super) fn remove(&mut self, number: ObjectNumber) -> Option<Object> {
        let file = self.numbers.remove(&number)?;
        let objects = self.files.get_mut(&file)?;
        let at = objects.iter().position(|object| object.number == number)?;
        let object = objects.remove(at);
        if objects.is_empty() {
            self.files.remove(&file);
        }
        Some(object)
    }
}

/// What a deposit has.
pub(super) fn descriptor(kept: &Rc<Kept>) -> Option<BorrowedFd<'_>> {
    kept.descriptor.as_ref().and_then(PeerFd::descriptor)
}
