//! sendmsg(2) and recvmsg(2), with any descriptors and any control messages, right or wrong.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A control message of any kind.
#[derive(Clone, Debug)]
pub struct Control {
    /// Its level, such as `SOL_SOCKET`.
    pub level: i32,
    /// Its type, such as `SCM_RIGHTS`.
    pub kind: i32,
    /// What it holds.
    pub data: Vec<u8>,
}

/// What one recvmsg(2) brought.
#[derive(Debug, Default)]
pub struct Received {
    /// The bytes; none at the end of the stream.
    pub bytes: Vec<u8>,
    /// The descriptors, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// Whether the kernel cut some off.
    pub truncated: bool,
}

const WORD: usize = size_of::<usize>();
const HEAD: usize = size_of::<libc::cmsghdr>();

impl Control {
    /// SCM_RIGHTS with these descriptors.
    pub fn rights(descriptors: &[BorrowedFd<'_>]) -> Self {
        let data = descriptors.iter().flat_map(|it| it.as_raw_fd().to_ne_bytes()).collect();
        Self { level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, data }
    }

    /// SCM_CREDENTIALS that say the truth about this process.
    pub fn own_credentials() -> Self {
        let ids = crate::Ids::own();
        let fields = [std::process::id(), ids.uid, ids.gid];
        let data = fields.iter().flat_map(|field| field.to_ne_bytes()).collect();
        Self { level: libc::SOL_SOCKET, kind: libc::SCM_CREDENTIALS, data }
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&(HEAD + self.data.len()).to_ne_bytes());
        into.extend_from_slice(&self.level.to_ne_bytes());
        into.extend_from_slice(&self.kind.to_ne_bytes());
        into.extend_from_slice(&self.data);
        into.resize(into.len().next_multiple_of(WORD), 0);
    }
}

/// Sends bytes and descriptors in one sendmsg(2); returns how many bytes were sent.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    match descriptors {
        [] => send_controls(socket, bytes, &[]),
        some => send_controls(socket, bytes, &[Control::rights(some)]),
    }
}

/// Sends bytes and any control messages in one sendmsg(2); returns how many bytes were sent.
pub fn send_controls(socket: impl AsFd, bytes: &[u8], controls: &[Control]) -> io::Result<usize> {
    send_flagged(socket, bytes, controls, 0)
}

/// Sends bytes out of band (MSG_OOB), the last of which is, and descriptors.
pub fn send_out_of_band(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    send_flagged(socket, bytes, &[Control::rights(descriptors)], libc::MSG_OOB)
}

fn send_flagged(
    socket: impl AsFd,
    bytes: &[u8],
    controls: &[Control],
    flags: libc::c_int,
) -> io::Result<usize> {
    let mut room = Vec::new();
    controls.iter().for_each(|control| control.write(&mut room));
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is a C struct of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !room.is_empty() {
        header.msg_control = room.as_mut_ptr().cast();
        header.msg_controllen = room.len() as _;
    }
    uninterrupted(|| {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: `header` points at `bytes` and `room`, which live until the call returns and
        // which sendmsg(2) only reads.
        unsafe { libc::sendmsg(socket, &header, libc::MSG_NOSIGNAL | flags) }
    })
}

/// Sends all bytes, however many calls it takes; the descriptors go with the first.
pub fn send_all(
    socket: impl AsFd,
    mut bytes: &[u8],
    mut descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = send(socket.as_fd(), bytes, descriptors)?;
        bytes = &bytes[sent..];
        descriptors = &[];
    }
    Ok(())
}

/// Receives at most `room` bytes, and any descriptors, in one recvmsg(2).
pub fn receive(socket: impl AsFd, room: usize) -> io::Result<Received> {
    let mut bytes = vec![0u8; room];
    // Words, so that the control messages in it are aligned: 253 descriptors and credentials.
    let mut control = vec![0usize; 256];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is a C struct of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = (control.len() * WORD) as _;
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: `header` points at `bytes` and `control` with their true sizes; both live until the
    // call returns and nobody else looks at them.
    let length =
        uninterrupted(|| unsafe { libc::recvmsg(raw, &raw mut header, libc::MSG_CMSG_CLOEXEC) })?;
    bytes.truncate(length);
    let filled: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let descriptors = rights(&filled[..header.msg_controllen as usize])
        .into_iter()
        // SAFETY: the kernel has just installed this descriptor for us alone, and each is
        // taken once.
        .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
        .collect();
    Ok(Received { bytes, descriptors, truncated: header.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// Repeats a call that a signal, or the stopping and going on of this process, interrupted.
fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(length) => return Ok(length),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// The descriptors in the control messages that recvmsg(2) wrote.
fn rights(mut control: &[u8]) -> Vec<RawFd> {
    let mut found = Vec::new();
    while let Some((head, _)) = control.split_at_checked(HEAD) {
        let length = usize::from_ne_bytes(*head.first_chunk().unwrap());
        let level = i32::from_ne_bytes(*head[WORD..].first_chunk().unwrap());
        let kind = i32::from_ne_bytes(*head[WORD + 4..].first_chunk().unwrap());
        let data = &control[HEAD..length];
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            found.extend(
                data.chunks_exact(4).map(|it| RawFd::from_ne_bytes(it.try_into().unwrap())),
            );
        }
        control = control.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    }
    found
}
