//! `fdbroker add`: deposits a payload, a descriptor, or both.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use rustix::fs::OFlags;

use fdbroker::MAX_PAYLOAD;
use fdbroker_types::quoted;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::inherited::inherited;
use crate::lazy_broker::LazyBroker;
use crate::listen::Address;

/// Deposit a payload, a descriptor, or both
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("deposit").required(true).multiple(true)
    .args(["payload", "fd", "open", "listen"])))]
#[command(group(ArgGroup::new("descriptor").args(["fd", "open", "listen"])))]
pub(crate) struct Add {
    /// The slot, such as 10/3 or web/3; its deposit is replaced
    slot: String,
    /// The payload: a file's content, or - for standard input; at most 32768 bytes
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Deposit the inherited descriptor with this number
    #[arg(long, value_name = "N")]
    fd: Option<u32>,
    /// Open a file and deposit its descriptor
    #[arg(long, value_name = "PATH")]
    open: Option<PathBuf>,
    /// The access to open it with
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
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        // First of all, or what this process itself opens could be taken for it.
        let inherited = self.fd.map(inherited).transpose()?;
        let mut lazy = LazyBroker::new(args);
        let slot = lazy.slot(&self.slot)?;
        // Before anything is made that would have to be taken back.
        lazy.broker()?;
        let payload = self.payload.as_deref().map_or(Ok(Vec::new()), payload)?;
        let descriptor =
            inherited.map_or_else(|| self.made(), |descriptor| Ok(Some(descriptor)))?;
        let broker = lazy.broker()?;
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
            "{} is too large; the limit is {MAX_PAYLOAD} bytes",
            source_of(file)
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::local(source_of(file), error)),
    }
}

/// What a message calls the source of a payload.
fn source_of(file: &Path) -> String {
    match file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => format!("payload {}", quoted(file)),
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
        .map_err(|error| {
            Failure::local(format_args!("cannot open {path}", path = quoted(path)), error)
        })
}
