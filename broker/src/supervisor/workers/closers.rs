//! The closers that run: started when a worker asks for one, reaped when they have closed everything.

use std::io;
use std::os::fd::OwnedFd;

use fdbroker_wire::Account;
use tokio::process::Child;

use super::spawn;
use crate::log::Log;

/// How many there may be. One that is full ends only when its peers let it.
const MOST: usize = 64;

/// All closers.
#[derive(Default)]
pub(crate) struct Closers(Vec<Child>);

impl Closers {
    /// Reaps those that have ended.
    pub(crate) fn reap(&mut self) {
        self.0.retain_mut(|closer| matches!(closer.try_wait(), Ok(None)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Starts another one; gives the worker's end of its link.
    pub(crate) fn start(&mut self, account: Option<Account>, log: &Log) -> io::Result<OwnedFd> {
        self.reap();
        if self.0.len() >= MOST {
            return Err(io::Error::other(format!("{MOST} still have something to close")));
        }
        let (closer, link) = spawn::closer(account, log)?;
        self.0.push(closer);
        Ok(link)
    }
}
