//! The closers that run: started when a worker asks for one, reaped when they have closed everything.

use std::io;
use std::os::fd::OwnedFd;

use fdbroker_wire::{Account, Control};
use tokio::process::Child;

use super::lifecycle::Supervisor;
use super::link::Link;
use super::spawn;
use crate::log::Log;

/// How many there may be. One that is full ends only when its peers let it.
const MOST: usize = 64;

/// All closers.
#[derive(Default)]
pub(super) struct Closers(Vec<Child>);

impl Closers {
    /// Reaps those that have ended.
    pub(super) fn reap(&mut self) {
        self.0.retain_mut(|closer| matches!(closer.try_wait(), Ok(None)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn start(&mut self, account: Option<Account>, log: &Log) -> io::Result<OwnedFd> {
        self.reap();
        if self.0.len() >= MOST {
            return Err(io::Error::other(format!("{MOST} still have something to close")));
        }
        let (closer, link) = spawn::closer(account, log)?;
        self.0.push(closer);
        Ok(link)
    }
}

impl Supervisor {
    /// Gives the worker a closer.
    pub(super) fn give_closer(&mut self, link: &mut Link) {
        let account = self.source.account();
        match self.closers.start(account, &self.log) {
            Ok(socket) => {
                self.log.info(&format!(
                    "a peer left descriptors unread in its connection: a process of its own (fdbroker-closer) \
                     closes such connections; {} run",
                    self.closers.len()
                ));
                link.carry_own(|socket| Control::Closer(Some(socket)), socket);
            }
            Err(error) => self.log.error(&format!(
                "no process can be started that closes connections with unread descriptors: {error}; the \
                 worker closes them"
            )),
        }
    }
}
