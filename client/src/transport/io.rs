//! What goes over a socket: parts of a message out, bytes and descriptors in.
//!
//! Descriptors are received close-on-exec, are owned from the moment they arrive, and are closed
//! when no answer claims them. Nothing that is sent raises SIGPIPE.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use fdbroker_wire::MAX_DESCRIPTORS;
use rustix::io::{Result, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

use crate::core::Core;
use crate::core::outgoing::Outgoing;

/// Sends as much of a message as goes at once, behind its first `sent` bytes. One that has a head alone
/// goes the cheaper way.
///
/// # Errors
/// Those of sendmsg(2), but never EINTR.
pub(crate) fn send_rest(
    message: &Outgoing<'_>,
    sent: usize,
    socket: impl AsFd,
    flags: SendFlags,
) -> Result<usize> {
    let (head, payload, descriptors) = message.rest(sent);
    let flags = flags | SendFlags::NOSIGNAL;
    if payload.is_empty() && descriptors.is_empty() {
        return retry_on_intr(|| send(&socket, head, flags));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let parts = [IoSlice::new(head), IoSlice::new(payload)];
    retry_on_intr(|| sendmsg(&socket, &parts, &mut control, flags))
}

/// One recvmsg(2), fed to a core. Returns how many bytes came: 0 at the end of the stream.
///
/// # Errors
/// Those of recvmsg(2), but never EINTR.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    flags: RecvFlags,
    core: &mut Core<OwnedFd>,
) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(buffer)];
        recvmsg(&socket, &mut parts, &mut control, flags)
    })?;
    let truncated = received.flags.contains(ReturnFlags::CTRUNC);
    core.feed(&buffer[..received.bytes], owned(&mut control), truncated);
    Ok(received.bytes)
}

/// Every descriptor that came. Those that nobody takes are closed with the buffer.
fn owned(control: &mut RecvAncillaryBuffer<'_>) -> impl Iterator<Item = OwnedFd> {
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(arrived) => Some(arrived),
        _ => None,
    });
    rights.flatten()
}
