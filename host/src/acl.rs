//! Access control lists of files (acl(5)), in the form in which the kernel has them.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

const NAME: &str = "system.posix_acl_access";
/// The only version there is: see linux/posix_acl_xattr.h, as for the layout.
const VERSION: u32 = 2;
const ENTRY: usize = 8;
/// How long a list may be that is read: the kernel's limit of extended attributes.
const LONGEST: usize = 65_536;

/// An entry of a list. The order is that in which the kernel wants them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AclEntry {
    /// For whom it is: [`AclEntry::OWNER`] and the others.
    pub tag: u16,
    /// The user or group of a named one, else [`AclEntry::NOBODY`].
    pub id: u32,
    /// Bits as of a mode: 4 to read, 2 to write, 1 to execute.
    pub permits: u16,
}

impl AclEntry {
    /// The tag of the file's owner.
    pub const OWNER: u16 = 0x01;
    /// The tag of a named user.
    pub const USER: u16 = 0x02;
    /// The tag of the file's group.
    pub const GROUP: u16 = 0x04;
    /// The tag of a named group.
    pub const NAMED_GROUP: u16 = 0x08;
    /// The tag of the most that named ones and the file's group get.
    pub const MASK: u16 = 0x10;
    /// The tag of everybody else.
    pub const OTHERS: u16 = 0x20;
    /// The id of an entry that names nobody.
    pub const NOBODY: u32 = u32::MAX;

    fn parse([a, b, c, d, e, f, g, h]: &[u8; ENTRY]) -> Self {
        Self {
            tag: u16::from_le_bytes([*a, *b]),
            permits: u16::from_le_bytes([*c, *d]),
            id: u32::from_le_bytes([*e, *f, *g, *h]),
        }
    }

    fn to_bytes(self) -> [u8; ENTRY] {
        let ([a, b], [c, d]) = (self.tag.to_le_bytes(), self.permits.to_le_bytes());
        let [e, f, g, h] = self.id.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// Returns the list of a file that is open, with O_PATH too; `None` if it has no more than its mode.
///
/// # Errors
/// As getxattr(2): among others when its file system has no access control lists. InvalidData for what is no list.
pub fn read_acl(file: BorrowedFd<'_>) -> io::Result<Option<Vec<AclEntry>>> {
    let mut bytes = Vec::with_capacity(LONGEST);
    match getxattr(by_number(file), NAME, rustix::buffer::spare_capacity(&mut bytes)) {
        Ok(_) => parse(&bytes).map(Some).ok_or_else(|| ErrorKind::InvalidData.into()),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes these entries the list of a file that is open, with O_PATH too.
///
/// # Errors
/// As setxattr(2).
pub fn write_acl(file: BorrowedFd<'_>, entries: &[AclEntry]) -> io::Result<()> {
    Ok(setxattr(by_number(file), NAME, &to_bytes(entries), XattrFlags::empty())?)
}

/// A name of an open file: fgetxattr(2) takes no descriptor that was opened with O_PATH.
fn by_number(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// `None` if this is no list.
fn parse(bytes: &[u8]) -> Option<Vec<AclEntry>> {
    let (version, entries) = bytes.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    rest.is_empty().then(|| entries.iter().map(AclEntry::parse).collect())
}

fn to_bytes(entries: &[AclEntry]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|entry| entry.to_bytes());
    VERSION.to_le_bytes().into_iter().chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let entry = |tag, id, permits| AclEntry { tag, id, permits };
        let list = vec![
            entry(AclEntry::OWNER, AclEntry::NOBODY, 6),
            entry(AclEntry::USER, 1000, 1),
            entry(AclEntry::USER, 1001, 1),
            entry(AclEntry::GROUP, AclEntry::NOBODY, 6),
            entry(AclEntry::MASK, AclEntry::NOBODY, 6),
            entry(AclEntry::OTHERS, AclEntry::NOBODY, 6),
        ];
        assert_eq!(parse(&to_bytes(&list)), Some(list));
        assert_eq!(parse(&[2, 0, 0, 0, 1]), None);
    }

    #[test]
    fn what_is_no_list_is_none() {
        let list = [2, 0, 0, 0, 2, 0, 6, 0, 1, 0, 0, 0];
        assert_ne!(parse(&list), None);
        assert_eq!(parse(&list[..9]), None);
        assert_eq!(parse(&[3, 0, 0, 0]), None);
        assert_eq!(parse(&[]), None);
    }
}
