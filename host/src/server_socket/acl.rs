//! Whom the access control list of a directory (acl(5)) lets write, beside its owner and everybody.

use std::os::fd::BorrowedFd;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::acl::{AclEntry, read_acl};

const WRITES: u16 = 0o2;
const GROUP_WRITES: u32 = 0o020;

/// Users and groups who may write.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Writers {
    pub(super) users: Vec<u32>,
    pub(super) groups: Vec<u32>,
}

impl Writers {
    /// Those of a directory that is open, with O_PATH too. Without a list, they are those of its mode.
    pub(super) fn of(directory: BorrowedFd<'_>, stat: &Stat) -> Result<Self, Errno> {
        let read = read_acl(directory);
        match read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL)) {
            Ok(Some(entries)) => Ok(Self::of_list(&entries, stat.st_gid)),
            Ok(None) | Err(Errno::OPNOTSUPP) => Ok(Self::of_mode(stat)),
            Err(errno) => Err(errno),
        }
    }

    fn of_mode(stat: &Stat) -> Self {
        let is_for_group = stat.st_mode & GROUP_WRITES != 0;
        Self {
            users: Vec::new(),
            groups: is_for_group.then_some(stat.st_gid).into_iter().collect(),
        }
    }

    fn of_list(entries: &[AclEntry], gid: u32) -> Self {
        let writes = |entry: &&AclEntry| entry.permits & WRITES != 0;
        let mask = entries.iter().find(|entry| entry.tag == AclEntry::MASK);
        let mut writers = Self::default();
        if mask.is_some_and(|mask| !writes(&mask)) {
            return writers;
        }
        for entry in entries.iter().filter(writes) {
            match entry.tag {
                AclEntry::USER => writers.users.push(entry.id),
                AclEntry::GROUP => writers.groups.push(gid),
                AclEntry::NAMED_GROUP => writers.groups.push(entry.id),
                _ => {}
            }
        }
        writers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u16 = AclEntry::USER;
    const GROUP: u16 = AclEntry::GROUP;
    const NAMED_GROUP: u16 = AclEntry::NAMED_GROUP;
    const MASK: u16 = AclEntry::MASK;

    fn writers(entries: &[(u16, u16, u32)]) -> Writers {
        let entry = |(tag, permits, id): &(u16, u16, u32)| AclEntry {
            tag: *tag,
            id: *id,
            permits: *permits,
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        Writers::of_list(&entries, 7)
    }

    #[test]
    fn a_list_names_who_may_write_unless_the_mask_takes_it() {
        let named = [(USER, 6, 70_001), (USER, 5, 70_002), (GROUP, 5, 0), (NAMED_GROUP, 2, 70_003)];
        let found = Writers { users: vec![70_001], groups: vec![70_003] };
        assert_eq!(writers(&[&named[..], &[(MASK, 7, 0)]].concat()), found);
        assert_eq!(writers(&[&named[..], &[(MASK, 5, 0)]].concat()), Writers::default());
        let groups = Writers { users: vec![], groups: vec![7] };
        assert_eq!(writers(&[(GROUP, 7, 0)]), groups, "the directory's own");
    }
}
