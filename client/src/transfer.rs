//! What goes over a socket: parts of a request out, bytes and descriptors in.
//!
//! Descriptors are received close-on-exec, are owned from the moment they arrive, and are closed
//! when no answer claims them. Nothing that is sent raises SIGPIPE.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_wire::MAX_DESCRIPTORS;
use rustix::io::{Errno as Os, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

use crate::core::Core;

/// A request, ready to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Its fixed part.
    pub(crate) head: &'a [u8],
    /// What follows.
    pub(crate) payload: &'a [u8],
    /// What travels with its first byte.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

impl<'a> Request<'a> {
    /// One without payload and descriptors.
    pub(crate) fn plain(head: &'a [u8]) -> Self {
        Self { head, payload: &[], descriptors: &[] }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// What is left to send behind its first `sent` bytes; descriptors go with the first part.
    pub(crate) fn behind(self, sent: usize) -> Self {
        match sent.checked_sub(self.head.len()) {
            _ if sent == 0 => self,
            Some(payload) => Self::plain(&self.payload[payload..]),
            None => Self { head: &self.head[sent..], payload: self.payload, descriptors: &[] },
        }
    }

    /// Sends as much as goes at once. What has a head alone goes the cheaper way.
    ///
    /// # Errors
    /// Those of sendmsg(2), but never EINTR.
    pub(crate) fn send(&self, socket: impl AsFd, flags: SendFlags) -> Result<usize> {
        let flags = flags | SendFlags::NOSIGNAL;
        if self.payload.is_empty() && self.descriptors.is_empty() {
            return uninterrupted(|| send(&socket, self.head, flags));
        }
        uninterrupted(|| self.send_message(&socket, flags))
    }

    fn send_message(&self, socket: impl AsFd, flags: SendFlags) -> Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !self.descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(self.descriptors));
        }
        let parts = [IoSlice::new(self.head), IoSlice::new(self.payload)];
        sendmsg(socket, &parts, &mut control, flags)
    }
}

/// One recvmsg(2), fed to a core. Says how many bytes came: none at the end of the stream.
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
    let received = uninterrupted(|| {
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

fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Os::INTR) => {}
            result => return result,
        }
    }
}
