//! What the kernel says of the process at the other end, where no crate asks it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use fdbroker_policy::Gid;

/// How many groups are asked for at first; most processes have fewer.
const USUAL_GROUPS: usize = 64;
/// The longest label that is asked for, in bytes; a longer one is none.
const MAX_LABEL: usize = 4096;

/// The supplementary groups of a peer.
pub(crate) enum Groups {
    /// These.
    Are(Vec<Gid>),
    /// More than were asked for: so many.
    TooMany(usize),
}

/// The supplementary groups of the peer at the time it connected (SO_PEERGROUPS, Linux 4.13), if they
/// are at most `most`. Of others the kernel tells only how many there are.
///
/// # Errors
/// As getsockopt(2).
pub(crate) fn groups(socket: BorrowedFd<'_>, most: usize) -> io::Result<Groups> {
    let mut room = USUAL_GROUPS.min(most);
    loop {
        match groups_into(socket, room)? {
            Groups::TooMany(number) if number <= most && number > room => room = number,
            found => return Ok(found),
        }
    }
}

fn groups_into(socket: BorrowedFd<'_>, room: usize) -> io::Result<Groups> {
    let mut groups: Vec<libc::gid_t> = vec![0; room];
    let mut size = libc::socklen_t::try_from(size_of_val(groups.as_slice()))
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the buffer holds `size` bytes, and any bit pattern the kernel writes into it is
    // an array of gid_t; `size` is ours to be overwritten.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut size,
        )
    } != 0;
    let number = size as usize / size_of::<libc::gid_t>();
    if failed {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ERANGE) => Ok(Groups::TooMany(number)),
            _ => Err(error),
        };
    }
    groups.truncate(number);
    Ok(Groups::Are(groups.into_iter().map(Gid).collect()))
}

/// Returns the security label of the peer at the time it connected (SO_PEERSEC), as the kernel
/// writes it; `None` if no security module provides one.
pub(crate) fn label(socket: BorrowedFd<'_>) -> Option<String> {
    let mut label = vec![0_u8; MAX_LABEL];
    let mut size = libc::socklen_t::try_from(label.len()).ok()?;
    // SAFETY: the buffer holds `size` bytes, into which the kernel may write anything; `size` is
    // ours to be overwritten.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERSEC,
            label.as_mut_ptr().cast(),
            &raw mut size,
        )
    } != 0;
    if failed {
        return None;
    }
    label.truncate(usize::try_from(size).ok()?);
    let text = String::from_utf8(label).ok()?;
    Some(text.trim_end_matches(['\n', '\0']).to_owned()).filter(|label| !label.is_empty())
}
