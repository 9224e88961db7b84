//! All that was taken over from a broker, until it is committed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use fdbroker_host::Standing;
use fdbroker_wire::Handover;

use super::message::{Said, read};
use super::process::BrokerProcess;
use crate::supervisor::workers::link::Link;

/// What decides who listens at a path.
pub(crate) struct Shared {
    /// Device and inode of the socket's file.
    pub(crate) file: (u64, u64),
    pub(crate) lock: OwnedFd,
    pub(crate) door: OwnedFd,
}

/// The way to that broker, and what it shares.
pub(crate) struct Succession {
    pub(crate) link: Link,
    pub(crate) process: BrokerProcess,
    pub(crate) path: PathBuf,
    pub(crate) shared: Shared,
    pub(crate) standing: Option<Standing>,
}

/// How everything has become this broker's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Committed {
    /// The other broker knows, and ends.
    Told,
    /// It had died by then. It served nobody after it had sent everything.
    Alone,
}

impl Succession {
    /// Makes everything this broker's.
    ///
    /// # Errors
    /// If the other broker goes on: then nothing must be served here.
    pub(crate) fn commit(&mut self) -> Result<Committed, String> {
        match self.link.send_now(Handover::Commit) {
            Ok(()) => Ok(Committed::Told),
            Err(error) => self.is_left_alone(&error).map(|()| Committed::Alone),
        }
    }

    /// Whether the other broker, which takes nothing any more, has died before it could go on.
    fn is_left_alone(&mut self, error: &io::Error) -> Result<(), String> {
        // It says so before it goes on.
        if let Some(Ok(Said::Handover(Handover::Refused(why)))) = self.link.last_word().map(read) {
            return Err(format!("it goes on: {why}"));
        }
        if self.process.is_ending() {
            return Ok(());
        }
        Err(format!("it did not wait until this one was ready: {error}"))
    }
}
