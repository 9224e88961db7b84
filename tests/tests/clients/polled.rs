//! The client that never waits against the daemon, driven by an event loop of poll(2).

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use fdbroker::{Connector, Error, Mode, NewDeposit, Outcome, Polled, Slot, State, Ticket, What};
use fdbroker_tests::claims::WEB;
use fdbroker_tests::{Daemon, fixtures};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// An event loop over some sessions.
struct Loop<'a>(Vec<&'a mut Polled>);

impl Loop<'_> {
    /// Goes on until something is there.
    #[track_caller]
    fn until<T>(&mut self, mut found: impl FnMut(&mut [&mut Polled]) -> Option<T>) -> T {
        loop {
            for session in &mut self.0 {
                session.process().unwrap();
            }
            if let Some(found) = found(&mut self.0) {
                return found;
            }
            self.wait();
        }
    }

    #[track_caller]
    fn wait(&self) {
        let mut waiting: Vec<_> = self
            .0
            .iter()
            .map(|session| match session.wants_write() {
                true => PollFd::new(&**session, PollFlags::IN | PollFlags::OUT),
                false => PollFd::new(&**session, PollFlags::IN),
            })
            .collect();
        let patience = Timespec::try_from(fdbroker_tests::PATIENCE).unwrap();
        assert!(poll(&mut waiting, Some(&patience)).unwrap() > 0, "something happens");
    }
}

fn connect(daemon: &Daemon) -> Polled {
    Connector::new().socket(daemon.socket()).connect_polled().unwrap()
}

#[track_caller]
fn answer(session: &mut Polled, ticket: Ticket) -> Outcome {
    Loop(vec![session]).until(|sessions| sessions[0].answer(ticket)).unwrap()
}

fn slot(tag: i16, index: i32) -> Slot {
    Slot::new(tag, index).unwrap()
}

#[test]
fn a_thousand_requests_are_under_way_at_once() {
    let daemon = Daemon::with_policy(&fixtures::accepting("[\"file\", \"none\"]")).start();
    let mut session = connect(&daemon);
    let file: OwnedFd = fixtures::file_saying("kept");
    let tickets: Vec<_> = (0..500)
        .map(|number| {
            let slot = slot(1, number);
            (session.add(slot, Some(file.as_fd()), &number.to_ne_bytes()), session.get(slot))
        })
        .collect();
    for (number, (added, got)) in (0_i32..).zip(tickets) {
        assert!(matches!(answer(&mut session, added), Outcome::Done));
        let Outcome::Deposit(deposit) = answer(&mut session, got) else { panic!("no deposit") };
        assert_eq!(deposit.payload, number.to_ne_bytes());
        assert!(fixtures::same_file(deposit.descriptor.unwrap(), &file));
    }
    let indices: Vec<_> = (0..500).map(|number| slot(1, number).index).collect();
    let taken = session.take_many(slot(1, 0).tag, &indices);
    let Outcome::Many(taken) = answer(&mut session, taken) else { panic!("no deposits") };
    assert_eq!(taken.iter().filter(|(_, deposit)| deposit.is_ok()).count(), 500);
}

#[test]
fn one_loop_hands_a_tag_over_from_one_session_to_another() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (connect(&daemon), connect(&daemon));
    let tag = slot(WEB, 0).tag;
    let owned = old.claim(tag, Mode::Live, Duration::from_secs(60));
    assert!(
        matches!(answer(&mut old, owned), Outcome::Claimed(claimed) if claimed.state == State::Owned)
    );
    let mut both = Loop(vec![&mut old, &mut new]);
    let claimed = both.0[1].claim(tag, Mode::Quiesced, Duration::from_secs(60));
    let told = both.until(|sessions| sessions[0].next_event());
    assert_eq!(told.what, What::ClaimedQuiesced);
    let waiting = both.until(|sessions| sessions[1].answer(claimed)).unwrap();
    assert!(matches!(waiting, Outcome::Claimed(claimed) if claimed.state == State::Waiting));
    let released = both.0[0].release_to(tag, told.claim);
    let granted = both.until(|sessions| sessions[1].next_event());
    assert_eq!(granted.what, What::Granted);
    both.until(|sessions| sessions[0].answer(released)).unwrap();
    let ready = both.0[1].ready(tag);
    both.until(|sessions| sessions[1].answer(ready)).unwrap();
    assert_eq!(both.until(|sessions| sessions[0].next_event()).what, What::Completed);
    let late = both.0[0].add(slot(WEB, 0), None, b"too late");
    let error = both.until(|sessions| sessions[0].answer(late)).unwrap_err();
    assert!(matches!(error, Error::TakenOver { .. }), "{error:?}");
}

#[test]
fn when_the_worker_dies_the_session_says_so_and_connects_anew() {
    let daemon = Daemon::with_policy(fixtures::OPEN).start();
    let mut session = connect(&daemon);
    let added = session.add(slot(1, 0), None, b"kept");
    assert!(matches!(answer(&mut session, added), Outcome::Done));
    daemon.kill_worker();
    let error = loop {
        match session.process() {
            Ok(()) => Loop(vec![&mut session]).wait(),
            Err(error) => break error,
        }
    };
    assert!(error.is_lost(), "{error:?}");
    session.reconnect().unwrap();
    let got = session.get(slot(1, 0));
    let Outcome::Deposit(deposit) = answer(&mut session, got) else { panic!("no deposit") };
    assert_eq!(deposit.payload, b"kept");
}

#[test]
fn names_listings_and_reports_are_asked_for_like_everything_else() {
    let operators = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    let daemon = Daemon::with_policy(&format!("{}{operators}", fixtures::OPEN)).start();
    let mut session = connect(&daemon);
    let added = session.add(slot(1, 3), None, b"kept");
    let (listed, status) = (session.list(None), session.status());
    let (reloaded, purged) = (session.reload(), session.purge(None));
    assert!(matches!(answer(&mut session, added), Outcome::Done));
    let Outcome::Listed(listed) = answer(&mut session, listed) else { panic!("no listing") };
    assert_eq!(listed.iter().map(|entry| entry.slot).collect::<Vec<_>>(), [slot(1, 3)]);
    for (asked, said) in [(status, "deposits=1\n"), (reloaded, "tags: 1"), (purged, "")] {
        let Outcome::Report(report) = answer(&mut session, asked) else { panic!("no report") };
        assert!(report.contains(said), "{report}");
    }
}

#[test]
fn many_deposits_take_several_messages_and_have_an_outcome_each() {
    let daemon = Daemon::with_policy(&fixtures::accepting("[\"file\", \"none\"]")).start();
    let mut session = connect(&daemon);
    let file: OwnedFd = fixtures::file_saying("kept");
    let payloads: Vec<_> = (0..600).map(|number| vec![b'x'; 100 + number]).collect();
    let deposits: Vec<_> = (0..600)
        .zip(&payloads)
        .map(|(number, payload)| {
            let descriptor = (number % 100 == 0).then(|| file.as_fd());
            NewDeposit { index: slot(1, number).index, descriptor, payload }
        })
        .collect();
    let added = session.add_many(slot(1, 0).tag, &deposits);
    let Outcome::DoneMany(done) = answer(&mut session, added) else { panic!("no outcomes") };
    assert_eq!((done.len(), done.iter().filter(|done| done.is_ok()).count()), (600, 600));
    let indices: Vec<_> = deposits.iter().map(|deposit| deposit.index).collect();
    let got = session.get_many(slot(1, 0).tag, &indices);
    let Outcome::Many(got) = answer(&mut session, got) else { panic!("no deposits") };
    for ((deposit, payload), number) in got.into_iter().zip(&payloads).zip(0..) {
        let deposit = deposit.1.unwrap();
        assert_eq!(&deposit.payload, payload, "{number}");
        assert_eq!(deposit.descriptor.is_some(), number % 100 == 0, "{number}");
        assert!(deposit.descriptor.is_none_or(|it| fixtures::same_file(it, &file)), "{number}");
    }
}

#[test]
fn no_deposit_among_many_is_sent_where_one_is_too_large() {
    let daemon = Daemon::with_policy(fixtures::OPEN).start();
    let mut session = connect(&daemon);
    let (small, large) = ([0; 10], [0; 32769]);
    let new =
        |number, payload| NewDeposit { index: slot(1, number).index, descriptor: None, payload };
    let added = session.add_many(slot(1, 0).tag, &[new(0, &small), new(1, &large)]);
    let error = session.answer(added).expect("it is known at once").unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 32769, .. }), "{error:?}");
    let info = session.tag(slot(1, 0).tag);
    assert!(matches!(answer(&mut session, info), Outcome::Info(info) if info.used == 0));
    let nothing = session.add_many(slot(1, 0).tag, &[]);
    assert!(
        matches!(session.answer(nothing), Some(Ok(Outcome::DoneMany(done))) if done.is_empty())
    );
}

#[test]
fn an_instance_and_a_number_of_a_descriptor_are_those_of_the_other_sessions() {
    let daemon = Daemon::with_policy(&fixtures::accepting("[\"file\"]")).start();
    let mut session = connect(&daemon);
    let mut blocking = Connector::new().socket(daemon.socket()).connect().unwrap();
    let instance = session.instance();
    let expected = blocking.instance().unwrap();
    assert!(matches!(answer(&mut session, instance), Outcome::Instance(it) if it == expected));
    let file: OwnedFd = fixtures::file_saying("kept");
    let added = session.add_numbered(slot(1, 0), file.as_fd(), 77, b"");
    assert!(matches!(answer(&mut session, added), Outcome::Done));
    assert_eq!(blocking.get(slot(1, 0)).unwrap().ufd, 77);
}
