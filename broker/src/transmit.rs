//! sendmsg(2), without waiting and without SIGPIPE.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use fdbroker_wire::MAX_DESCRIPTORS;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Sends as much of `parts` as there is room for, with `descriptors` on the first byte. Returns how
/// many bytes were sent.
///
/// # Errors
/// As sendmsg(2). WouldBlock if there is no room, ETOOMANYREFS if too many descriptors of this user
/// are in flight.
pub(crate) fn transmit(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket, parts, &mut control, flags)?)
}

/// Returns what is left of a message after its first `sent` bytes.
pub(crate) fn rest<const N: usize>(parts: [&[u8]; N], mut sent: usize) -> [IoSlice<'_>; N] {
    parts.map(|part| {
        let (gone, left) = part.split_at(sent.min(part.len()));
        sent -= gone.len();
        IoSlice::new(left)
    })
}

/// Whether too many descriptors of this user lie unread, with whomever. No event tells when that
/// is over: the caller tries again.
pub(crate) fn too_many_in_flight(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
}

/// Whether the kernel is short of something that it may have again a moment later.
pub(crate) fn is_short(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM))
}

/// The pause before a send that failed for want of something is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::rest;

    #[test]
    fn what_is_left_of_a_message_begins_where_the_last_write_ended() {
        let left = |sent| rest([&b"head"[..], b"", b"body"], sent).map(|part| part.to_vec());
        assert_eq!(left(0), [&b"head"[..], b"", b"body"]);
        assert_eq!(left(3), [&b"d"[..], b"", b"body"]);
        assert_eq!(left(4), [&b""[..], b"", b"body"]);
        assert_eq!(left(7), [&b""[..], b"", b"y"]);
        assert_eq!(left(9), [&b""[..], b"", b""]);
    }
}
