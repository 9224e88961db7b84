//! Taking tags over with the library: the client that blocks and the one on tokio, each in the
//! place of the old process and of the new one.

use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker::tokio::Broker as Async;
use fdbroker::{Broker, Claimed, Deposit, Error, Event, Mode, Slot, State, Tag, What};
use fdbroker_tests::claims::{BOTH, WEB};
use fdbroker_tests::{Daemon, PATIENCE, fixtures};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime::{Builder, Runtime};

const LONG: Duration = Duration::from_secs(60);

/// One of the two clients: they are to do the same.
enum Client {
    Blocking(Box<Broker>),
    Tokio(Async, Runtime),
}

/// Has either of them do the same.
macro_rules! either {
    ($client:expr, $broker:ident => $does:expr) => {
        match $client {
            Client::Blocking($broker) => $does,
            Client::Tokio($broker, runtime) => runtime.block_on($does),
        }
    };
}

impl Client {
    fn blocking(daemon: &Daemon) -> Self {
        Self::Blocking(Box::new(Broker::connect_to(daemon.socket()).unwrap()))
    }

    fn on_tokio(daemon: &Daemon) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let broker = runtime.block_on(Async::connect_to(daemon.socket())).unwrap();
        Self::Tokio(broker, runtime)
    }

    fn claim(&mut self, tag: Tag, mode: Mode, time: Duration) -> Result<Claimed, Error> {
        either!(self, broker => broker.claim(tag, mode, time))
    }

    fn release_to(&mut self, tag: Tag, claim: i32) -> Result<(), Error> {
        either!(self, broker => broker.release_to(tag, claim))
    }

    fn ready(&mut self, tag: Tag) -> Result<(), Error> {
        either!(self, broker => broker.ready(tag))
    }

    fn withdraw(&mut self, tag: Tag) -> Result<(), Error> {
        either!(self, broker => broker.withdraw(tag))
    }

    fn event(&mut self, patience: Duration) -> Result<Option<Event>, Error> {
        either!(self, broker => broker.event(Some(patience)))
    }

    fn add(&mut self, slot: Slot, payload: &[u8]) -> Result<(), Error> {
        let file = fixtures::file_saying("deposited");
        either!(self, broker => broker.add(slot, Some(file.as_fd()), payload))
    }

    fn get(&mut self, slot: Slot) -> Result<Deposit, Error> {
        either!(self, broker => broker.get(slot))
    }

    /// Owns a tag that was nobody's.
    #[track_caller]
    fn owning(mut self, tag: Tag) -> Self {
        assert_eq!(self.claim(tag, Mode::Live, LONG).unwrap().state, State::Owned);
        self
    }

    /// The next event, which is of this tag and says this.
    #[track_caller]
    fn is_told(&mut self, tag: Tag, what: What) -> Event {
        let event = self.event(PATIENCE).unwrap().expect("something is told in time");
        assert_eq!((event.tag, event.what), (tag, what));
        event
    }

    /// The next thing that it learns is that its connection was lost.
    #[track_caller]
    fn learns_of_a_loss(&mut self) {
        let error = loop {
            match self.event(PATIENCE) {
                Ok(event) => assert!(event.is_some(), "the loss is told in time"),
                Err(error) => break error,
            }
        };
        assert!(error.is_lost() && matches!(error, Error::Broken { .. }), "{error:?}");
    }

    /// The bytes, where there is a descriptor beside them.
    #[track_caller]
    fn payload(&mut self, slot: Slot) -> Vec<u8> {
        let deposit = self.get(slot).unwrap();
        assert_eq!(fixtures::content(deposit.descriptor.unwrap()), "deposited");
        deposit.payload
    }
}

type Kind = fn(&Daemon) -> Client;

/// The old process, the new one, and a tag: each kind of client against each, serial or not.
fn pairs() -> impl Iterator<Item = (Kind, Kind, Tag)> {
    let kinds: [Kind; 2] = [Client::blocking, Client::on_tokio];
    let pairs = kinds.into_iter().flat_map(move |old| kinds.map(|new| (old, new)));
    pairs.flat_map(|(old, new)| BOTH.map(|tag| (old, new, Tag::new(tag).unwrap())))
}

fn slot(tag: Tag, index: i32) -> Slot {
    Slot::new(tag.get(), index).unwrap()
}

#[test]
fn live_the_old_process_serves_on_until_the_new_one_is_ready() {
    for (old, new, tag) in pairs() {
        let daemon = Daemon::of_claims();
        let mut old = old(&daemon).owning(tag);
        old.add(slot(tag, 0), b"state").unwrap();
        let mut new = new(&daemon);
        let granted = new.claim(tag, Mode::Live, LONG).unwrap();
        assert_eq!(granted.state, State::Granted);
        let told = old.is_told(tag, What::ClaimedLive);
        assert_eq!((told.claim, told.pid), (granted.claim, std::process::id().cast_signed()));
        assert_eq!(new.payload(slot(tag, 0)), b"state");
        for side in [&mut old, &mut new] {
            let error = side.add(slot(tag, 0), b"changed").unwrap_err();
            assert!(matches!(error, Error::Claimed { .. }), "{error:?}");
        }
        new.ready(tag).unwrap();
        old.is_told(tag, What::Completed);
        let error = old.add(slot(tag, 0), b"too late").unwrap_err();
        assert!(matches!(error, Error::TakenOver { .. }), "{error:?}");
        new.add(slot(tag, 0), b"the new one's").unwrap();
        assert_eq!(new.payload(slot(tag, 0)), b"the new one's");
    }
}

#[test]
fn quiesced_the_old_process_brings_its_deposits_up_to_date_and_releases() {
    for (old, new, tag) in pairs() {
        let daemon = Daemon::of_claims();
        let mut old = old(&daemon).owning(tag);
        let mut new = new(&daemon);
        assert_eq!(new.claim(tag, Mode::Quiesced, LONG).unwrap().state, State::Waiting);
        let claim = old.is_told(tag, What::ClaimedQuiesced).claim;
        let early = new.ready(tag).unwrap_err();
        assert!(matches!(early, Error::Failed { .. }), "{early:?}");
        old.add(slot(tag, 0), b"sequence 7").unwrap();
        let other = old.release_to(tag, claim + 1).unwrap_err();
        assert!(matches!(other, Error::Failed { .. }), "{other:?}");
        old.release_to(tag, claim).unwrap();
        new.is_told(tag, What::Granted);
        assert_eq!(new.payload(slot(tag, 0)), b"sequence 7");
        new.ready(tag).unwrap();
        old.is_told(tag, What::Completed);
        new.add(slot(tag, 0), b"sequence 8").unwrap();
    }
}

#[test]
fn who_is_not_ready_in_time_or_gives_up_changes_nothing() {
    for (old, new, tag) in pairs() {
        let daemon = Daemon::of_claims();
        let mut old = old(&daemon).owning(tag);
        let mut new = new(&daemon);
        new.claim(tag, Mode::Live, Duration::from_millis(50)).unwrap();
        old.is_told(tag, What::ClaimedLive);
        new.is_told(tag, What::Expired);
        old.is_told(tag, What::TimedOut);
        new.ready(tag).unwrap_err();
        old.add(slot(tag, 0), b"goes on").unwrap();

        new.claim(tag, Mode::Live, LONG).unwrap();
        old.is_told(tag, What::ClaimedLive);
        new.withdraw(tag).unwrap();
        old.is_told(tag, What::Left);
        old.add(slot(tag, 0), b"goes on").unwrap();
    }
}

#[test]
fn an_old_process_that_ends_leaves_the_tag_to_the_new_one() {
    for (old, new, tag) in pairs() {
        let daemon = Daemon::of_claims();
        let mut old = old(&daemon).owning(tag);
        old.add(slot(tag, 0), b"left").unwrap();
        let mut new = new(&daemon);
        new.claim(tag, Mode::Quiesced, LONG).unwrap();
        drop(old);
        new.is_told(tag, What::Owned);
        assert_eq!(new.payload(slot(tag, 0)), b"left");
        new.add(slot(tag, 0), b"mine").unwrap();
    }
}

#[test]
fn when_the_worker_dies_both_learn_of_it_and_claim_again() {
    for (old, new, tag) in pairs() {
        let daemon = Daemon::of_claims();
        let mut old = old(&daemon).owning(tag);
        old.add(slot(tag, 0), b"kept").unwrap();
        let mut new = new(&daemon);
        assert_eq!(new.claim(tag, Mode::Live, LONG).unwrap().state, State::Granted);
        daemon.kill_worker();
        old.learns_of_a_loss();
        new.learns_of_a_loss();
        assert!(new.ready(tag).unwrap_err().is_lost(), "it claims nothing any more");

        assert_eq!(old.claim(tag, Mode::Again, LONG).unwrap().state, State::Owned);
        assert_eq!(new.claim(tag, Mode::Live, LONG).unwrap().state, State::Granted);
        old.is_told(tag, What::ClaimedLive);
        assert_eq!(new.payload(slot(tag, 0)), b"kept");
        new.ready(tag).unwrap();
        old.is_told(tag, What::Completed);
    }
}

#[test]
fn a_loss_that_another_request_has_mended_is_told_all_the_same() {
    for kind in [Client::blocking as Kind, Client::on_tokio] {
        let (daemon, tag) = (Daemon::of_claims(), Tag::new(WEB).unwrap());
        let mut owner = kind(&daemon).owning(tag);
        owner.add(slot(tag, 0), b"kept").unwrap();
        daemon.kill_worker();
        assert_eq!(owner.payload(slot(tag, 0)), b"kept");
        assert!(owner.claim(tag, Mode::Again, LONG).unwrap_err().is_lost());
        assert_eq!(owner.claim(tag, Mode::Again, LONG).unwrap().state, State::Owned);
    }
}

#[test]
fn the_descriptor_of_a_session_that_blocks_tells_when_there_is_an_event_or_a_loss() {
    let (daemon, tag) = (Daemon::of_claims(), Tag::new(WEB).unwrap());
    let mut owner = Broker::connect_to(daemon.socket()).unwrap();
    owner.claim(tag, Mode::Live, LONG).unwrap();
    assert!(!readable(&owner, Duration::ZERO));
    assert_eq!(owner.pending_event().unwrap(), None);
    let mut new = Client::blocking(&daemon);
    new.claim(tag, Mode::Live, LONG).unwrap();
    assert!(readable(&owner, PATIENCE));
    assert_eq!(owner.pending_event().unwrap().unwrap().what, What::ClaimedLive);
    assert!(!readable(&owner, Duration::ZERO));
    daemon.kill_worker();
    assert!(readable(&owner, PATIENCE));
    assert!(owner.pending_event().unwrap_err().is_lost());
}

fn readable(session: &Broker, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap();
    poll(&mut [PollFd::new(session, PollFlags::IN)], Some(&patience)).unwrap() > 0
}
