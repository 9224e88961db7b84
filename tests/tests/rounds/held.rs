//! What others have deposited, own and hold in each round.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use fdbroker_tests::claims::{AGAIN, LIVE};
use fdbroker_tests::traffic::program::Program;
use fdbroker_tests::traffic::service;
use fdbroker_tests::{HelperProcess, PATIENCE, Peer, request, sys};
use fdbroker_wire::claim::State;
use rustix::fs::{SeekFrom, seek};

use super::site::{CLAIMED, SERIAL, SERVERS, Site, THINGS};

/// The tags that a process owns.
const OWNED: [i16; 2] = [CLAIMED, SERIAL];
/// How many leases it has.
const LEASES: usize = 5;
/// How many deposits have a payload only.
const PAYLOADS: usize = 20;
/// Where the offset of a file is.
const OFFSET: u64 = 7;

/// All of it.
pub(super) struct Held {
    process: HelperProcess,
    owner: Peer,
    other: HelperProcess,
    leases: Vec<UnixStream>,
    listed: Vec<String>,
    things: Vec<Thing>,
    /// Ends with the test.
    _server: Program,
}

/// A deposit that no process owns.
struct Thing {
    payload: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Held {
    #[track_caller]
    pub(super) fn begin(site: &Site<'_>) -> Self {
        let mut server = site.program(&["echo", site.server()]);
        server.answer::<u32>();
        let [process, other] = [(); 2].map(|()| site.helper());
        let mut owner = site.connect(&process);
        for tag in OWNED {
            assert_eq!(owner.claim(tag, LIVE), State::Owned);
            owner.add((tag, 0), "the owner's").done();
        }
        let leases = (0..LEASES).map(|_| UnixStream::from(owner.get((SERVERS, 0)).descriptor()));
        let leases: Vec<_> = leases.collect();
        for lease in &leases {
            lease.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let things = deposit(site, &process);
        let listed = leases_listed(site);
        assert_eq!(listed.len(), LEASES, "{listed:?}");
        Self { process, owner, other, leases, listed, things, _server: server }
    }

    /// Looks at all of it.
    #[track_caller]
    pub(super) fn check(&mut self, site: &Site<'_>) {
        let mut stranger = site.connect(&self.other);
        for tag in OWNED {
            assert_eq!(stranger.claim(tag, LIVE), State::Waiting, "tag {tag}");
        }
        drop(stranger);
        self.owner = site.connect(&self.process);
        for tag in OWNED {
            assert_eq!(self.owner.claim(tag, AGAIN), State::Owned, "tag {tag}");
            assert_eq!(self.owner.get((tag, 0)).payload(), b"the owner's", "tag {tag}");
        }
        assert_eq!(leases_listed(site), self.listed);
        for (number, lease) in self.leases.iter_mut().enumerate() {
            lease.write_all(b"still").unwrap();
            let mut heard = [0; 5];
            lease.read_exact(&mut heard).unwrap_or_else(|error| panic!("lease {number}: {error}"));
            assert_eq!(&heard, b"still");
        }
        let mut peer = site.connect(&self.other);
        (0..).zip(&self.things).for_each(|(index, thing)| thing.check(&mut peer, index));
    }

    /// A stranger that asks for a connection of the service, which it must not have as long as that runs.
    #[track_caller]
    pub(super) fn stranger(&self, site: &Site<'_>) -> Peer {
        let mut stranger = site.connect(&self.other);
        stranger.send(&request::get((service::TAG, 0)), &[]);
        stranger
    }
}

/// Every lease, but for how long it has been held.
#[track_caller]
fn leases_listed(site: &Site<'_>) -> Vec<String> {
    let said = site.broker().leases().unwrap();
    let without = |line: &str| {
        let words = line.split(' ').filter(|word| !word.starts_with("held="));
        words.collect::<Vec<_>>().join(" ")
    };
    said.lines().map(without).collect()
}

/// Deposits that no process owns, of several kinds.
#[track_caller]
fn deposit(site: &Site<'_>, process: &HelperProcess) -> Vec<Thing> {
    let file = process.open(&site.file(), false).unwrap();
    seek(&file, SeekFrom::Start(OFFSET)).unwrap();
    let (reads, writes) = rustix::pipe::pipe().unwrap();
    let socket = OwnedFd::from(UnixDatagram::unbound().unwrap());
    let mut descriptors = [file, reads, writes, socket].map(Some).into_iter();
    let mut things: Vec<Thing> = Vec::new();
    for number in 0..PAYLOADS + descriptors.len() {
        // From nothing to the most that there can be.
        let payload = vec![number as u8; number * fdbroker::MAX_PAYLOAD / (PAYLOADS + 3)];
        things.push(Thing { payload, descriptor: descriptors.next().flatten() });
    }
    let mut peer = site.connect(process);
    for (index, Thing { payload, descriptor }) in (0..).zip(&things) {
        match descriptor {
            Some(descriptor) => peer.add_descriptor((THINGS, index), descriptor, payload).done(),
            None => peer.add((THINGS, index), payload).done(),
        }
    }
    things
}

impl Thing {
    #[track_caller]
    fn check(&self, peer: &mut Peer, index: i32) {
        let answer = peer.get((THINGS, index));
        let fdbroker_tests::Answer::Deposit { payload, descriptor, .. } = answer else {
            panic!("thing {index}: {answer:?}")
        };
        assert!(payload == self.payload, "the payload of thing {index}");
        let both = self.descriptor.as_ref().zip(descriptor.as_ref());
        assert_eq!(self.descriptor.is_some(), descriptor.is_some(), "thing {index}");
        if let Some((own, found)) = both {
            let same = sys::same_description(own.as_fd(), found).unwrap();
            assert!(same, "the descriptor of thing {index}");
        }
    }
}
