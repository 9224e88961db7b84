//! The bare exchange that everything is compared with, as a C program would write it: 8 bytes
//! there, 16 bytes and one descriptor back, closed on arrival. Two processes, blocking calls, no
//! memory taken.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use nix::sys::socket::{setsockopt, sockopt::PassCred};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The argument by which this program becomes the answering process.
pub const PONG: &str = "--pong";
/// The same, where it has the kernel tell who wrote each request (SO_PASSCRED).
pub const PONG_TO_SENDER: &str = "--pong-to-sender";

/// The same, with as many descriptors in each answer as were asked for.
pub const PONG_MANY: &str = "--pong-many";
/// How many a message carries at most.
pub const MANY: usize = 253;

const REQUEST: usize = 8;
const ANSWER: usize = 16;
/// Room for a control message with one descriptor, in words.
const CONTROL: usize = 4;

/// The asking end, and the process at the other one.
pub struct Bare {
    socket: UnixStream,
    child: Child,
}

impl Bare {
    /// Starts the other process: this very program, as this argument says.
    pub fn start(role: &str) -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let own = std::env::current_exe().unwrap();
        let child = Command::new(own).arg(role).stdin(OwnedFd::from(other)).spawn().unwrap();
        Self { socket, child }
    }

    /// The answering process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Descriptors from the `first` on, as many as are asked for, up to [`MANY`]; `buffer` has room
    /// for what comes with them.
    pub fn exchange_many(&self, first: u32, number: u32, buffer: &mut [u8]) -> Vec<OwnedFd> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MANY))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let request = [first.to_ne_bytes(), number.to_ne_bytes()].concat();
        rustix::io::write(&self.socket, &request).unwrap();
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut parts, &mut control, flags).unwrap();
        assert_eq!(received.bytes, ANSWER * number as usize);
        let rights = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        rights.flatten().collect()
    }

    /// One exchange.
    pub fn exchange(&self) {
        let request = [0u8; REQUEST];
        let socket = self.socket.as_raw_fd();
        // SAFETY: send(2) reads the bytes of `request`, whose length is given.
        let sent = unsafe { libc::send(socket, request.as_ptr().cast(), REQUEST, 0) };
        assert_eq!(sent, REQUEST as isize, "{}", io::Error::last_os_error());
        drop(receive(socket));
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // The other process ends when its input does.
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.child.wait().unwrap();
    }
}

/// Answers until the asking end has gone.
pub fn pong() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let mut request = [0u8; REQUEST];
    loop {
        // SAFETY: recv(2) writes at most REQUEST bytes, which `request` has.
        let length = unsafe { libc::recv(0, request.as_mut_ptr().cast(), REQUEST, 0) };
        if length <= 0 {
            return;
        }
        send(file.as_raw_fd());
    }
}

/// As many descriptors as are asked for in one message, each with an answer's bytes.
pub fn pong_many() {
    let (mut request, mut files) = ([0u8; REQUEST], Vec::new());
    let answer = vec![0u8; ANSWER * MANY];
    // SAFETY: descriptor 0 is open for as long as this process lives.
    let socket = unsafe { BorrowedFd::borrow_raw(0) };
    while rustix::io::read(socket, &mut request).is_ok_and(|length| length > 0) {
        let [first, number] =
            [0, 4].map(|at| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap()) as usize);
        while files.len() < first + number {
            files.push(std::fs::File::open("/dev/null").unwrap());
        }
        let descriptors: Vec<_> =
            files[first..first + number].iter().map(std::fs::File::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MANY))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(&answer[..ANSWER * number])];
        sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).unwrap();
    }
}

/// The same, with the credentials of who asks.
pub fn pong_to_sender() {
    let file = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: descriptor 0 is open for as long as this process lives.
    let socket = unsafe { BorrowedFd::borrow_raw(0) };
    setsockopt(&socket, PassCred, &true).unwrap();
    let mut request = [0u8; REQUEST];
    loop {
        let mut control = [0usize; CONTROL];
        let mut part = libc::iovec { iov_base: request.as_mut_ptr().cast(), iov_len: REQUEST };
        let mut header = header(&mut part, &mut control);
        // SAFETY: `header` points at `request` and `control`, which live until the call returns.
        let length = unsafe { libc::recvmsg(0, &raw mut header, 0) };
        if length <= 0 {
            return;
        }
        // SAFETY: recvmsg(2) left valid control messages in `control`.
        assert!(!unsafe { libc::CMSG_FIRSTHDR(&header) }.is_null(), "no credentials came");
        send(file.as_raw_fd());
    }
}

fn header(part: &mut libc::iovec, control: &mut [usize; CONTROL]) -> libc::msghdr {
    // SAFETY: msghdr is a C struct of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(control) as _;
    header
}

fn send(descriptor: RawFd) {
    let mut answer = [0u8; ANSWER];
    let mut control = [0usize; CONTROL];
    let mut part = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: ANSWER };
    let mut header = header(&mut part, &mut control);
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the buffer has room for one descriptor, so
    // CMSG_FIRSTHDR returns a header inside it and CMSG_DATA room for an int.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let message = libc::CMSG_FIRSTHDR(&header);
        (*message).cmsg_level = libc::SOL_SOCKET;
        (*message).cmsg_type = libc::SCM_RIGHTS;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(message).cast::<RawFd>().write_unaligned(descriptor);
    }
    // SAFETY: `header` points at `answer` and `control`, which live until the call returns.
    let sent = unsafe { libc::sendmsg(0, &header, libc::MSG_NOSIGNAL) };
    assert_eq!(sent, ANSWER as isize, "{}", io::Error::last_os_error());
}

fn receive(socket: RawFd) -> OwnedFd {
    let mut answer = [0u8; ANSWER];
    let mut control = [0usize; CONTROL];
    let mut part = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: ANSWER };
    let mut header = header(&mut part, &mut control);
    // SAFETY: `header` points at `answer` and `control`, which live until the call returns.
    let length = unsafe { libc::recvmsg(socket, &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    assert_eq!(length, ANSWER as isize, "{}", io::Error::last_os_error());
    // SAFETY: the other process sends one descriptor with each answer, so the kernel has written
    // one control message with it; it was installed for us alone, and is taken once.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&header);
        assert!(!message.is_null(), "an answer without a descriptor");
        OwnedFd::from_raw_fd(libc::CMSG_DATA(message).cast::<RawFd>().read_unaligned())
    }
}
