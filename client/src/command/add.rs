//! `fdbroker add`: deposits a payload, a descriptor, or both.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use rustix::fs::OFlags;

use crate::{MAX_PAYLOAD, transfer};

use super::contact::Contact;
use super::listen::Address;
use super::{Failure, Session};

/// Deposit a payload, a descriptor, or both
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("deposit").required(true).multiple(true)
    .args(["payload", "fd", "open", "listen"])))]
#[command(group(ArgGroup::new("descriptor").args(["fd", "open", "listen"])))]
pub(crate) struct Add {
    /// The slot, such as 10/3 or web/3; what it holds is replaced
    slot: String,
    /// The payload: a file's content, or - for standard input; at most 32768 bytes
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Deposit the descriptor of this number, as inherited
    #[arg(long, value_name = "N")]
    fd: Option<u32>,
    /// Open a file and deposit its descriptor
    #[arg(long, value_name = "PATH")]
    open: Option<PathBuf>,
    /// How to open it
    #[arg(long, value_enum, default_value = "read", requires = "open")]
    access: Access,
    /// Listen, and deposit the listening socket: tcp:ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "WHERE")]
    listen: Option<Address>,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker add web/0 --listen tcp:0.0.0.0:80
  fdbroker add 10/3 --payload state.json
  echo hello | fdbroker add 10/4 --payload -
  fdbroker add 10/5 --open log --access write
  fdbroker add 10/6 --fd 7 7<> data";

/// An access mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Access {
    Read,
    Write,
    ReadWrite,
}

impl Add {
    /// Runs it.
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        // First of all, or what this process itself opens could be taken for it.
        let inherited = self.fd.map(inherited).transpose()?;
        let mut contact = Contact::new(session);
        let slot = contact.slot(&self.slot)?;
        // Before anything is made that would have to be taken back.
        contact.broker()?;
        let payload = self.payload.as_deref().map_or(Ok(Vec::new()), payload)?;
        let descriptor =
            inherited.map_or_else(|| self.made(), |descriptor| Ok(Some(descriptor)))?;
        let broker = contact.broker()?;
        let added = match (&descriptor, self.fd) {
            // The next owner shall see the number that was meant, not that of the duplicate.
            (Some(descriptor), Some(number)) => {
                broker.add_numbered(slot, descriptor.as_fd(), number, &payload)
            }
            _ => broker.add(slot, descriptor.as_ref().map(AsFd::as_fd), &payload),
        };
        if let (Err(_), Some(address)) = (&added, &self.listen) {
            address.take_back();
        }
        Ok(added?)
    }

    /// The descriptor that is made for the purpose, if one is.
    fn made(&self) -> Result<Option<OwnedFd>, Failure> {
        match (&self.open, &self.listen) {
            (Some(path), _) => opened(path, self.access).map(Some),
            (None, Some(address)) => address.listen().map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Reads no more than is needed to see that it is too much, which the library then says.
fn payload(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_PAYLOAD as u64 + 1;
    let read = match file.to_str() {
        Some("-") => io::stdin().lock().take(most).read_to_end(&mut bytes),
        _ => File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    match read {
        Ok(size) if size > MAX_PAYLOAD => Err(Failure::Local(format!(
            "payload {file:?} is too large; the most is {MAX_PAYLOAD} bytes"
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::local(format_args!("payload {file:?}"), error)),
    }
}

fn opened(path: &Path, access: Access) -> Result<OwnedFd, Failure> {
    let flags = OFlags::NOCTTY.bits().cast_signed();
    OpenOptions::new()
        .read(access != Access::Write)
        .write(access != Access::Read)
        .custom_flags(flags)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| Failure::local(format_args!("cannot open {path:?}"), error))
}

/// A duplicate of a descriptor that this process inherited, whatever it is.
fn inherited(number: u32) -> Result<OwnedFd, Failure> {
    let duplicate = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => duplicate(number),
    };
    duplicate.map_err(|error| Failure::local(format_args!("descriptor {number}"), error))
}

/// Duplicates a descriptor that nobody here owns, and that therefore cannot be borrowed: sends it to ourselves. Unlike
/// pidfd_getfd(2), that works where a container's filter forbids to look into processes.
fn duplicate(number: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| rustix::io::Errno::BADF)?;
    let (near, far) = UnixStream::pair()?;
    if [near.as_raw_fd(), far.as_raw_fd()].contains(&number) {
        // It was free, then.
        return Err(rustix::io::Errno::BADF.into());
    }
    let control = [ControlMessage::ScmRights(&[number])];
    let byte = [IoSlice::new(&[0])];
    sendmsg::<UnixAddr>(near.as_raw_fd(), &byte, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    transfer::receive_one(&far)?.ok_or_else(|| rustix::io::Errno::MFILE.into())
}
