//! The closers that run: started when a worker asks for one, reaped when they have closed everything.
//!
//! A worker can ask for them many times a second. So the log says when there is a first one, when there are
//! more than usual, when they have doubled, and when that is over; and the same of none that can be started.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;

use fdbroker_wire::Account;

use super::spawn;
use super::spawner::Spawner;
use crate::log::Log;
use crate::payer::Payer;
use crate::spell::Spell;

/// How many there may be. One that is full ends only when its peers let it.
const MOST: usize = 64;
/// How many there are for one worker, as long as none is full.
const USUAL: usize = 2;

/// All closers.
#[derive(Default)]
pub(crate) struct Closers {
    running: Vec<Child>,
    said: Said,
}

/// What the log has said.
#[derive(Default)]
struct Said {
    /// How many ran the last time that was said; one at most where there are as many as usual.
    running: usize,
    unstarted: Spell,
}

impl Closers {
    /// Reaps those that have ended.
    pub(crate) fn reap(&mut self, log: &Log) {
        self.forget_ended();
        self.said.reaped(self.len()).iter().for_each(|told| log.info(told));
    }

    fn forget_ended(&mut self) {
        self.running.retain_mut(|closer| matches!(closer.try_wait(), Ok(None)));
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Starts another closer, since `payer` left descriptors unread. Returns the worker's end of its
    /// link.
    pub(crate) fn start(
        &mut self,
        spawner: &Spawner,
        account: Option<Account>,
        payer: Payer,
        log: &Log,
    ) -> Option<OwnedFd> {
        match self.spawn(spawner, account, log) {
            Ok(link) => {
                self.said.started(payer, self.len()).iter().for_each(|told| log.info(told));
                Some(link)
            }
            Err(error) => {
                self.said.not_started(&error).iter().for_each(|told| log.error(told));
                None
            }
        }
    }

    fn spawn(
        &mut self,
        spawner: &Spawner,
        account: Option<Account>,
        log: &Log,
    ) -> io::Result<OwnedFd> {
        self.forget_ended();
        if self.len() >= MOST {
            return Err(io::Error::other(format!(
                "all {MOST} closer processes still have descriptors to close"
            )));
        }
        let (closer, link) = spawn::closer(spawner, account, log)?;
        self.running.push(closer);
        Ok(link)
    }
}

impl Said {
    /// One more was started, and so many run.
    fn started(&mut self, payer: Payer, running: usize) -> Vec<String> {
        let again = self.unstarted.succeeded().map(|count| {
            format!("a closer process was started again; failed attempts before that: {count}")
        });
        let news = if self.running == 0 { 1 } else { (USUAL + 1).max(2 * self.running) };
        let more = (running >= news).then(|| {
            self.running = running;
            format!(
                "user {} left descriptors unread in its connection: a separate process \
                 (fdbroker-closer) closes such connections; closers running: {running}",
                payer
            )
        });
        again.into_iter().chain(more).collect()
    }

    /// None could be started.
    fn not_started(&mut self, error: &impl Display) -> Option<String> {
        self.unstarted.failed().then(|| {
            format!(
                "cannot start a process that closes connections with unread descriptors: {error}; \
                 the worker closes them until a retry succeeds"
            )
        })
    }

    /// Some have ended, and so many run.
    fn reaped(&mut self, running: usize) -> Option<String> {
        let over = self.running > USUAL && running <= USUAL;
        if running <= USUAL {
            self.running = self.running.min(running).min(1);
        }
        over.then(|| {
            format!(
                "connections with unread descriptors have been closed; closers running: {running}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Payer = Payer::named(7);

    /// Of which numbers it is said that so many run, while they become more.
    fn told(said: &mut Said, from: usize, to: usize) -> Vec<usize> {
        (from..=to).filter(|running| !said.started(USER, *running).is_empty()).collect()
    }

    #[tokio::test]
    async fn it_is_said_when_there_is_a_closer_when_there_are_too_many_and_when_that_is_over() {
        let mut said = Said::default();
        assert_eq!(told(&mut said, 1, MOST), [1, 3, 6, 12, 24, 48]);
        assert_eq!(said.reaped(40), None);
        assert!(said.reaped(2).unwrap().ends_with("running: 2"));
        assert_eq!(said.reaped(2), None);
        assert_eq!(told(&mut said, 3, 5), [3]);
        assert!(said.reaped(0).is_some());
        assert!(said.started(USER, 1)[0].starts_with("user 7 left descriptors unread"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_said_when_none_can_be_started_and_when_one_is_again() {
        let mut said = Said::default();
        told(&mut said, 1, 48);
        assert!(said.not_started(&"no room").unwrap().contains(": no room; "));
        assert!((0..99).all(|_| said.not_started(&"no room").is_none()));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(said.started(USER, 49).len(), 1);
        assert!(said.started(USER, 50).is_empty());
    }
}
