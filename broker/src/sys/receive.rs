//! recvmsg(2), with every descriptor owned and every credential read.
//!
//! Why not a crate: nix loses the descriptors of a truncated control message. rustix reads the
//! sender's pid as never zero, but a sender of a foreign pid namespace has pid zero.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use fdbroker_wire::MAX_DESCRIPTORS;

/// What one recvmsg(2) brought.
#[derive(Debug)]
pub(crate) struct Received<F> {
    /// How many bytes were written to the buffer; 0 at the end of the stream.
    pub(crate) length: usize,
    /// The descriptors, close-on-exec. When `truncated`, those that found room: to be closed.
    pub(crate) descriptors: Vec<F>,
    /// Who wrote these bytes, where SO_PASSCRED is set on the socket.
    pub(crate) sender: Option<Sender>,
    /// The process that wrote these bytes, where the kernel tells: see [`super::socket::tell_writers`].
    pub(crate) process: Option<OwnedFd>,
    /// The kernel cut descriptors off (MSG_CTRUNC).
    pub(crate) truncated: bool,
    /// How many bytes are still unread, where the kernel tells: see [`super::socket::tell_unread`].
    pub(crate) unread: Option<i32>,
}

impl<F> Received<F> {
    /// Whether the kernel says that nothing is left to read.
    pub(crate) fn was_all(&self) -> bool {
        self.unread == Some(0)
    }
}

/// The process that wrote a message: its real ids at that moment, or what a process with
/// CAP_SETUID, CAP_SETGID or CAP_SYS_ADMIN chose to say instead. See SCM_CREDENTIALS in unix(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sender {
    /// Its process id; 0 when it lives in a pid namespace that ours does not see.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Room for the kernel's largest set of descriptors, one set of credentials, one pidfd, and the
/// count of unread bytes.
#[expect(clippy::cast_possible_truncation, reason = "253 descriptors are about a kilobyte")]
const CONTROL_ROOM: usize = {
    let rights = (MAX_DESCRIPTORS * size_of::<RawFd>()) as u32;
    let credentials = size_of::<libc::ucred>() as u32;
    let process = size_of::<RawFd>() as u32;
    let unread = size_of::<libc::c_int>() as u32;
    // SAFETY: CMSG_SPACE only computes with its argument.
    unsafe {
        (libc::CMSG_SPACE(rights)
            + libc::CMSG_SPACE(credentials)
            + libc::CMSG_SPACE(process)
            + libc::CMSG_SPACE(unread)) as usize
    }
};

/// From the kernel's include/linux/socket.h (Linux 6.5); libc has no name for it yet.
const SCM_PIDFD: libc::c_int = 4;

/// What a socket with SO_INQ adds to each message; the number is the option's.
const SCM_INQ: libc::c_int = super::socket::SO_INQ;

/// A control buffer, aligned as `cmsghdr` wants it.
#[repr(C)]
union Control {
    _align: [libc::cmsghdr; 0],
    bytes: [MaybeUninit<u8>; CONTROL_ROOM],
}

/// Receives from `socket` into `buffer`, without waiting. Each descriptor goes through `own` at once,
/// so that none is ever dropped, and closed here, as what it is.
///
/// # Errors
/// As recvmsg(2); WouldBlock when nothing is there.
pub(crate) fn receive<F>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    own: impl FnMut(OwnedFd) -> F,
) -> io::Result<Received<F>> {
    let mut control = Control { bytes: [MaybeUninit::uninit(); CONTROL_ROOM] };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is a C struct of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CONTROL_ROOM as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `header` points at one iovec over `buffer` and at `control`, both of the sizes
    // given and borrowed by nobody else until this function ends.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let truncated = header.msg_flags & libc::MSG_CTRUNC != 0;
    let mut received = Received {
        length,
        descriptors: Vec::new(),
        sender: None,
        process: None,
        truncated,
        unread: None,
    };
    ancillary(&header, &mut received, own);
    Ok(received)
}

/// Takes everything out of the control messages of a `header` that recvmsg(2) has just filled.
fn ancillary<F>(
    header: &libc::msghdr,
    received: &mut Received<F>,
    mut own: impl FnMut(OwnedFd) -> F,
) {
    // SAFETY: recvmsg(2) left valid control messages in the buffer that `header` describes;
    // CMSG_FIRSTHDR and CMSG_NXTHDR stay inside it and give null at its end.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points at a complete cmsghdr inside the buffer.
        let (level, kind, size) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
        // SAFETY: CMSG_DATA and CMSG_LEN only compute with their arguments.
        let (data, head) = unsafe { (libc::CMSG_DATA(message), libc::CMSG_LEN(0) as usize) };
        let size = size.saturating_sub(head);
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                take_rights(data, size, |fd| received.descriptors.push(own(fd)));
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => received.sender = credentials(data, size),
            (libc::SOL_SOCKET, SCM_INQ) => received.unread = unread(data, size),
            (libc::SOL_SOCKET, SCM_PIDFD) => received.process = process(data, size),
            _ => {}
        }
        // SAFETY: as for CMSG_FIRSTHDR above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
}

fn process(data: *const u8, size: usize) -> Option<OwnedFd> {
    if size < size_of::<RawFd>() {
        return None;
    }
    // SAFETY: `data` holds at least an int that the kernel wrote, maybe unaligned.
    let number = unsafe { data.cast::<RawFd>().read_unaligned() };
    // Below zero it is the error for which the kernel could make none.
    // SAFETY: open, installed for us alone by this very recvmsg(2), and taken just once.
    (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

fn take_rights(data: *const u8, size: usize, mut take: impl FnMut(OwnedFd)) {
    for position in 0..size / size_of::<RawFd>() {
        // SAFETY: `data` holds `size` bytes that the kernel wrote as an array of descriptors,
        // maybe unaligned. Each is open, installed for us alone by this very recvmsg(2), and
        // taken just once: nobody else owns it.
        let descriptor =
            unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().add(position).read_unaligned()) };
        take(descriptor);
    }
}

fn unread(data: *const u8, size: usize) -> Option<i32> {
    if size < size_of::<libc::c_int>() {
        return None;
    }
    // SAFETY: `data` holds at least an int that the kernel wrote, maybe unaligned.
    Some(unsafe { data.cast::<libc::c_int>().read_unaligned() })
}

fn credentials(data: *const u8, size: usize) -> Option<Sender> {
    if size < size_of::<libc::ucred>() {
        return None;
    }
    // SAFETY: `data` holds at least a ucred that the kernel wrote, maybe unaligned; every bit
    // pattern is a value of it.
    let found = unsafe { data.cast::<libc::ucred>().read_unaligned() };
    Some(Sender { pid: found.pid, uid: found.uid, gid: found.gid })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::socket::{tell_unread, without_surplus};

    /// Whether this very process has a pidfd of its own open that stays open: other tests open some
    /// for a moment.
    fn one_stays() -> bool {
        let step = std::time::Duration::from_millis(5);
        (0..1000).all(|_| {
            std::thread::sleep(step);
            process_descriptors() > 0
        })
    }

    /// How many pidfds of this very process it has open.
    fn process_descriptors() -> usize {
        let own = format!("Pid:\t{}", std::process::id());
        let open = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        let texts = open.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        texts.filter(|text| text.lines().any(|line| line == own)).count()
    }

    /// Switches SO_PASSPIDFD on; whether this kernel has it.
    fn pass_processes(socket: BorrowedFd<'_>) -> bool {
        let on: libc::c_int = 1;
        let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap();
        // SAFETY: the kernel reads one int at the address given, which is ours.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSPIDFD,
                (&raw const on).cast(),
                size,
            )
        };
        result == 0
    }

    fn send(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let mut room = vec![MaybeUninit::uninit(); CONTROL_ROOM];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let bytes = [std::io::IoSlice::new(b"x")];
        sendmsg(socket, &bytes, &mut control, SendFlags::empty()).unwrap();
    }

    #[test]
    fn the_kernel_tells_what_is_still_unread() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        if !tell_unread(reader.as_fd()) {
            return eprintln!("skipped: this kernel has no SO_INQ for Unix sockets (Linux 6.17)");
        }
        writer.write_all(b"four").unwrap();
        let received = receive(reader.as_fd(), &mut [0; 3], std::convert::identity).unwrap();
        assert_eq!((received.unread, received.was_all()), (Some(1), false));
        send(writer.as_fd(), &[writer.as_fd()]);
        let received = receive(reader.as_fd(), &mut [0; 8], std::convert::identity).unwrap();
        assert_eq!((received.length, received.descriptors.len(), received.was_all()), (2, 1, true));
    }

    #[test]
    fn a_pidfd_that_nobody_asked_for_is_closed_and_one_that_is_not_sent_need_not_be() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        nix::sys::socket::setsockopt(&reader, nix::sys::socket::sockopt::PassCred, &true).unwrap();
        if !pass_processes(reader.as_fd()) {
            // Before Linux 6.5: nothing to be closed.
            return;
        }
        let sent: Vec<_> = (0..MAX_DESCRIPTORS).map(|_| writer.as_fd()).collect();
        for descriptors in [&[][..], &sent[..1], &sent] {
            send(writer.as_fd(), descriptors);
            let received = receive(reader.as_fd(), &mut [0; 8], std::convert::identity).unwrap();
            assert_eq!(received.descriptors.len(), descriptors.len());
            assert!(received.sender.is_some() && !received.truncated, "{received:?}");
            // A pidfd that came is its own.
            drop(received);
            assert!(!one_stays(), "a pidfd has leaked");
        }
        without_surplus(reader.as_fd()).unwrap();
        writer.write_all(b"x").unwrap();
        assert!(
            receive(reader.as_fd(), &mut [0; 8], std::convert::identity).unwrap().sender.is_some()
        );
        assert!(!one_stays(), "a pidfd still comes");
    }
}
