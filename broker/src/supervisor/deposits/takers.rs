//! Which process is about to take which deposits. The next worker keeps them for that process.
//!
//! A process counts once, however many slots it takes: one descriptor here, and one at the next
//! worker. Processes that have ended are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::rc::Rc;

use fdbroker_wire::{Index, Slot, Tag};
use rustix::event::PollFlags;

use crate::fd::{Depositor, PeerFd, table};
use crate::look::look;
use crate::process_number;

/// The part of the descriptor table that they may have, here and at the next worker: what its
/// deposits and connections leave of that.
const PART: u64 = 32;

/// All of them.
pub(crate) struct Takers {
    of: BTreeMap<Slot, Key>,
    takers: BTreeMap<Key, Taker>,
    limit: usize,
    /// It has been said that one is not noted.
    told: bool,
}

const NO_PROCESS: &str =
    "the worker named something that is not a process as the taker of a deposit: ignored";
const FULL: &str = "too many processes take deposits at once: if the worker dies now, a deposit \
can be handed out twice; raise LimitNOFILE= if this persists";

/// What tells a process from every other that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    /// Where the kernel numbers no processes.
    Pid(i32),
}

/// A process, and what it takes.
pub(crate) struct Taker {
    pub(crate) pid: i32,
    pub(crate) process: Rc<PeerFd>,
    slots: BTreeSet<Slot>,
}

impl Takers {
    /// For a table of the size that this process has.
    pub(crate) fn new() -> Self {
        let limit = table::part(PART);
        Self { of: BTreeMap::new(), takers: BTreeMap::new(), limit, told: false }
    }

    /// Notes which process takes the deposits of some slots. If that cannot be noted, returns what
    /// to log about it, once until another one is noted.
    pub(crate) fn note(
        &mut self,
        slots: impl Iterator<Item = Slot>,
        pid: i32,
        process: PeerFd,
    ) -> Option<&'static str> {
        let key = Key::of(pid, &process);
        let entered =
            key.map_or(Err(NO_PROCESS), |key| self.enter(key, pid, process).map(|()| key));
        match entered {
            Ok(key) => {
                slots.for_each(|slot| self.give(slot, key));
                self.forget_if_idle(key);
                self.told = false;
                None
            }
            Err(problem) => {
                slots.for_each(|slot| self.forget(slot));
                (!mem::replace(&mut self.told, true)).then_some(problem)
            }
        }
    }

    /// Sees to it that a process is among them.
    fn enter(&mut self, key: Key, pid: i32, mut process: PeerFd) -> Result<(), &'static str> {
        if self.takers.get(&key).is_some_and(Taker::has_ended) || self.takers.len() >= self.limit {
            self.forget_ended();
        }
        if self.takers.contains_key(&key) {
            return Ok(());
        }
        if self.takers.len() >= self.limit {
            return Err(FULL);
        }
        process.move_to(Depositor::Nobody);
        let process = Rc::new(process);
        self.takers.insert(key, Taker { pid, process, slots: BTreeSet::new() });
        Ok(())
    }

    fn give(&mut self, slot: Slot, key: Key) {
        if self.of.get(&slot) != Some(&key) {
            self.forget(slot);
        }
        self.of.insert(slot, key);
        self.takers.get_mut(&key).map(|taker| taker.slots.insert(slot));
    }

    /// Notes that nobody takes the deposit of a slot.
    pub(crate) fn forget(&mut self, slot: Slot) {
        let Some(key) = self.of.remove(&slot) else { return };
        self.takers.get_mut(&key).map(|taker| taker.slots.remove(&slot));
        self.forget_if_idle(key);
    }

    fn forget_if_idle(&mut self, key: Key) {
        if self.takers.get(&key).is_some_and(|taker| taker.slots.is_empty()) {
            self.takers.remove(&key);
        }
    }

    fn forget_taker(&mut self, key: Key) {
        let slots = self.takers.remove(&key).map(|taker| taker.slots).unwrap_or_default();
        for slot in slots {
            self.of.remove(&slot);
        }
    }

    /// Forgets those that have ended: what they were taking is there for everybody.
    pub(crate) fn forget_ended(&mut self) {
        let ended = self.takers.iter().filter(|(_, taker)| taker.has_ended());
        let ended: Vec<Key> = ended.map(|(key, _)| *key).collect();
        ended.into_iter().for_each(|key| self.forget_taker(key));
    }

    /// Forgets those beyond so many; returns how many that were.
    pub(crate) fn forget_beyond(&mut self, room: usize) -> usize {
        let surplus: Vec<Key> = self.takers.keys().skip(room).copied().collect();
        surplus.iter().for_each(|key| self.forget_taker(*key));
        surplus.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Taker> {
        self.takers.values()
    }
}

impl Key {
    fn of(pid: i32, process: &PeerFd) -> Option<Self> {
        let process = process.descriptor().filter(|process| process_number::is_pidfd(*process))?;
        let pid = (pid != 0).then_some(Self::Pid(pid));
        process_number::number(process).map(Self::Number).or(pid)
    }
}

impl Taker {
    /// A pidfd is readable when its process has ended, see pidfd_open(2).
    fn has_ended(&self) -> bool {
        let look = |process| look(process, PollFlags::IN);
        let found = self.process.descriptor().map(look).and_then(Result::ok);
        found.is_some_and(|found| found.contains(PollFlags::IN))
    }

    /// What it takes, tag by tag.
    pub(crate) fn by_tag(&self) -> BTreeMap<Tag, Vec<Index>> {
        let mut by_tag: BTreeMap<Tag, Vec<Index>> = BTreeMap::new();
        self.slots.iter().for_each(|slot| by_tag.entry(slot.tag).or_default().push(slot.index));
        by_tag
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

    use super::*;
    use crate::fd::CloseQueue;

    fn slot(index: i32) -> Slot {
        Slot::new(1, index).unwrap()
    }

    fn process() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Another descriptor each time.
    fn note(takers: &mut Takers, process: &Child, slots: &[i32]) -> bool {
        let pid = Pid::from_child(process);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let pidfd = CloseQueue::new().hold(Depositor::Nobody, pidfd);
        takers.note(slots.iter().map(|index| slot(*index)), pid.as_raw_pid(), pidfd).is_none()
    }

    fn end(process: &mut Child) {
        process.kill().unwrap();
        let pid = Pid::from_child(process);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    }

    fn reap(process: &mut Child) {
        process.wait().unwrap();
    }

    #[test]
    fn a_process_counts_once_and_until_nothing_is_left_that_it_takes() {
        let (mut takers, mut process) = (Takers::new(), process());
        assert!(note(&mut takers, &process, &[1, 2]));
        assert!(note(&mut takers, &process, &[2, 3]));
        let by_tag: Vec<_> = takers.all().map(Taker::by_tag).collect();
        assert_eq!(
            by_tag,
            [BTreeMap::from([(slot(0).tag, [1, 2, 3].map(|i| slot(i).index).into())])]
        );
        [1, 2, 3].into_iter().for_each(|index| takers.forget(slot(index)));
        assert_eq!(takers.all().count(), 0);
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn one_that_has_ended_is_forgotten_with_what_it_takes() {
        let (mut takers, mut ended, mut other) = (Takers::new(), process(), process());
        assert!(note(&mut takers, &ended, &[1]) && note(&mut takers, &other, &[2]));
        end(&mut ended);
        takers.forget_ended();
        assert_eq!(takers.of.keys().copied().collect::<Vec<_>>(), [slot(2)]);
        end(&mut other);
        [ended, other].iter_mut().for_each(reap);
    }

    #[test]
    fn what_another_takes_now_its_former_taker_takes_no_more() {
        let (mut takers, mut first, mut second) = (Takers::new(), process(), process());
        assert!(note(&mut takers, &first, &[1]) && note(&mut takers, &second, &[1]));
        assert_eq!(takers.all().map(|it| it.pid).collect::<Vec<_>>(), [second.id().cast_signed()]);
        [&mut first, &mut second].into_iter().for_each(end);
        [first, second].iter_mut().for_each(reap);
    }

    #[test]
    fn beyond_the_limit_none_is_noted_until_one_has_ended() {
        let (mut takers, mut first, mut second) = (Takers::new(), process(), process());
        takers.limit = 1;
        assert!(note(&mut takers, &first, &[1]));
        assert!(!note(&mut takers, &second, &[2]), "it is said");
        assert!(note(&mut takers, &second, &[2]), "it is said once");
        assert_eq!(takers.all().map(|it| it.pid).collect::<Vec<_>>(), [first.id().cast_signed()]);
        end(&mut first);
        assert!(note(&mut takers, &second, &[2]));
        assert_eq!(takers.all().map(|it| it.pid).collect::<Vec<_>>(), [second.id().cast_signed()]);
        end(&mut second);
        [first, second].iter_mut().for_each(reap);
    }

    #[test]
    fn what_is_no_process_takes_nothing() {
        let end = CloseQueue::new().hold(Depositor::Nobody, std::io::pipe().unwrap().0.into());
        let mut takers = Takers::new();
        assert_eq!(takers.note([slot(1)].into_iter(), 7, end), Some(NO_PROCESS));
        assert_eq!(takers.all().count(), 0);
    }
}
