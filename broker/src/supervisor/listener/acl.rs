//! The access control list of a socket file (acl(5)), and the users in it who may not connect for now.
//!
//! connect(2) to a Unix socket takes the right to write to its file: so an entry without that right keeps one
//! user out, in the kernel, before anything is queued. Ours have only the right to execute, which means
//! nothing for a socket and which no operator writes: by that they are found again, also by a later broker.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

use fdbroker_host::{AclEntry, read_acl, write_acl};
use fdbroker_policy::Uid;
use rustix::fs::fstat;

const USER: u16 = AclEntry::USER;
const GROUP: u16 = AclEntry::GROUP;
const MASK: u16 = AclEntry::MASK;
const NOBODY: u32 = AclEntry::NOBODY;

/// What an entry of ours permits.
const SHUT_OUT: u16 = 0o1;

/// The list of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Acl(Vec<AclEntry>);

impl Acl {
    /// That of a file that is open, with O_PATH too.
    ///
    /// # Errors
    /// As getxattr(2): among others when its file system has no access control lists.
    pub(super) fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        match read_acl(file)? {
            Some(entries) => Ok(Self(entries)),
            None => Ok(Self::of_mode(fstat(file)?.st_mode)),
        }
    }

    /// Makes it that of a file.
    ///
    /// # Errors
    /// As setxattr(2).
    pub(super) fn apply(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        write_acl(file, &self.0)
    }

    /// The same with exactly these users shut out. One who has an entry of the operator's keeps it.
    pub(super) fn shutting_out(&self, users: &BTreeSet<Uid>) -> Self {
        let is_ours = |entry: &AclEntry| entry.tag == USER && entry.permits == SHUT_OUT;
        let mut entries: Vec<_> = self.0.iter().filter(|entry| !is_ours(entry)).copied().collect();
        let named = |uid: u32| entries.iter().any(|entry| entry.tag == USER && entry.id == uid);
        let ours = users.iter().map(|user| user.0).filter(|uid| !named(*uid));
        let ours: Vec<_> = ours.map(|id| AclEntry { tag: USER, id, permits: SHUT_OUT }).collect();
        entries.extend(ours);
        entries.sort_unstable();
        Self(entries).with_fitting_mask()
    }

    /// Whether an entry of ours keeps this user out.
    pub(super) fn shuts_out(&self, user: Uid) -> bool {
        self.0.contains(&AclEntry { tag: USER, id: user.0, permits: SHUT_OUT })
    }

    /// A list with names in it has a mask. One without needs none, and is no more than a mode.
    fn with_fitting_mask(mut self) -> Self {
        let has_names =
            self.0.iter().any(|entry| matches!(entry.tag, USER | AclEntry::NAMED_GROUP));
        let mask = self.0.iter().position(|entry| entry.tag == MASK);
        match mask {
            Some(at) if !has_names => {
                let mask = self.0.remove(at);
                self.group_mut().for_each(|group| group.permits &= mask.permits);
            }
            None if has_names => {
                let permits = self.group_mut().fold(0, |_, group| group.permits);
                self.0.push(AclEntry { tag: MASK, id: NOBODY, permits });
                self.0.sort_unstable();
            }
            _ => {}
        }
        self
    }

    fn group_mut(&mut self) -> impl Iterator<Item = &mut AclEntry> {
        self.0.iter_mut().filter(|entry| entry.tag == GROUP)
    }

    fn of_mode(mode: u32) -> Self {
        let entry = |tag, shift: u32| {
            let permits = u16::try_from(mode >> shift & 0o7).unwrap_or(0);
            AclEntry { tag, id: NOBODY, permits }
        };
        Self(vec![entry(AclEntry::OWNER, 6), entry(GROUP, 3), entry(AclEntry::OTHERS, 0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = Uid(1000);
    const BOB: Uid = Uid(1001);

    fn users<const N: usize>(users: [Uid; N]) -> BTreeSet<Uid> {
        users.into()
    }

    #[test]
    fn when_nobody_is_shut_out_any_more_it_is_as_before() {
        let before = Acl::of_mode(0o660);
        let during = before.shutting_out(&users([ALICE]));
        assert!(during.shuts_out(ALICE) && !during.shuts_out(BOB));
        assert_eq!(during.shutting_out(&users([])), before);
    }

    #[test]
    fn the_operators_entries_stay() {
        let mut list = Acl::of_mode(0o660);
        list.0.push(AclEntry { tag: USER, id: ALICE.0, permits: 6 });
        list.0.push(AclEntry { tag: MASK, id: NOBODY, permits: 6 });
        list.0.sort_unstable();
        let during = list.shutting_out(&users([ALICE, BOB]));
        assert!(!during.shuts_out(ALICE) && during.shuts_out(BOB));
        assert_eq!(during.shutting_out(&users([])), list);
    }

    #[test]
    fn who_is_shut_out_may_change() {
        let list = Acl::of_mode(0o666).shutting_out(&users([ALICE]));
        let list = list.shutting_out(&users([BOB]));
        assert!(list.shuts_out(BOB) && !list.shuts_out(ALICE));
    }
}
