//! Whom the access control list of a directory (acl(5)) lets write, beside its owner and everybody.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Stat, getxattr};
use rustix::io::Errno;

const NAME: &str = "system.posix_acl_access";
/// The only version there is: see linux/posix_acl_xattr.h, as for the layout.
const VERSION: u32 = 2;
const ENTRY: usize = 8;
/// The kernel's limit of extended attributes.
const LONGEST: usize = 65_536;

const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
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
        // fgetxattr(2) takes no descriptor that was opened with O_PATH.
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let mut bytes = Vec::with_capacity(LONGEST);
        match getxattr(name, NAME, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(_) => Self::parse(&bytes, stat.st_gid).ok_or(Errno::INVAL),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Self::of_mode(stat)),
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

    /// `None` if this is no list.
    fn parse(bytes: &[u8], gid: u32) -> Option<Self> {
        let (version, entries) = bytes.split_first_chunk()?;
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return None;
        }
        let entries = || entries.iter().map(entry);
        let is_masked = entries().any(|(tag, permits, _)| tag == MASK && permits & WRITES == 0);
        let mut writers = Self::default();
        for (tag, _, id) in entries().filter(|(_, permits, _)| permits & WRITES != 0 && !is_masked)
        {
            match tag {
                USER => writers.users.push(id),
                GROUP => writers.groups.push(gid),
                NAMED_GROUP => writers.groups.push(id),
                _ => {}
            }
        }
        Some(writers)
    }
}

/// The tag, what it permits, and for whom.
fn entry([a, b, c, d, e, f, g, h]: &[u8; ENTRY]) -> (u16, u16, u32) {
    let id = u32::from_le_bytes([*e, *f, *g, *h]);
    (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writers(entries: &[(u16, u16, u32)]) -> Option<Writers> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permits, id) in entries {
            bytes.extend(tag.to_le_bytes().into_iter().chain(permits.to_le_bytes()));
            bytes.extend(id.to_le_bytes());
        }
        Writers::parse(&bytes, 7)
    }

    #[test]
    fn a_list_names_who_may_write_unless_the_mask_takes_it() {
        let named = [(USER, 6, 70_001), (USER, 5, 70_002), (GROUP, 5, 0), (NAMED_GROUP, 2, 70_003)];
        let found = Writers { users: vec![70_001], groups: vec![70_003] };
        assert_eq!(writers(&[&named[..], &[(MASK, 7, 0)]].concat()), Some(found));
        assert_eq!(writers(&[&named[..], &[(MASK, 5, 0)]].concat()), Some(Writers::default()));
        let groups = Some(Writers { users: vec![], groups: vec![7] });
        assert_eq!(writers(&[(GROUP, 7, 0)]), groups, "the directory's own");
    }

    #[test]
    fn what_is_no_list_is_none() {
        let list = [2, 0, 0, 0, 2, 0, 6, 0, 1, 0, 0, 0];
        assert_ne!(Writers::parse(&list, 7), None);
        assert_eq!(Writers::parse(&list[..9], 7), None);
        assert_eq!(Writers::parse(&[3, 0, 0, 0], 7), None);
        assert_eq!(Writers::parse(&[], 7), None);
    }
}
