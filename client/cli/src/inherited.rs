//! A descriptor that this process inherited, duplicated by its number.
//!
//! No value here owns that number, so it cannot be borrowed: the kernel duplicates it when it is
//! sent over a socket pair. Unlike pidfd_getfd(2), that works where a container's filter forbids
//! looking into processes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::failure::Failure;

/// Returns a duplicate of the descriptor of this number, whatever it is.
pub(crate) fn inherited(number: u32) -> Result<OwnedFd, Failure> {
    let duplicate = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => duplicate(number),
    };
    duplicate.map_err(|error| Failure::local(format_args!("descriptor {number}"), error))
}

fn duplicate(number: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
    let (near, far) = UnixStream::pair()?;
    if [near.as_raw_fd(), far.as_raw_fd()].contains(&number) {
        // It was free, then.
        return Err(Errno::BADF.into());
    }
    let control = [ControlMessage::ScmRights(&[number])];
    let byte = [IoSlice::new(&[0])];
    sendmsg::<UnixAddr>(near.as_raw_fd(), &byte, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    receive_one(&far)?.ok_or_else(|| Errno::MFILE.into())
}

/// Receives one byte and the descriptor that came with it, if there was room for it.
fn receive_one(socket: &UnixStream) -> rustix::io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    retry_on_intr(|| {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut arrived = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(arrived.next().and_then(|mut descriptors| descriptors.next()))
}
