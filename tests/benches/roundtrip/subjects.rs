//! The brokers that are measured, and the requests that are made of them.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use fdbroker::{Broker, Slot};
use fdbroker_tests::{Daemon, request};

/// The request of a subject, over a connection of its own.
pub struct Request {
    broker: Broker,
    kind: Kind,
    slot: Slot,
    file: File,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Get,
    Add,
}

/// A daemon with ten rules and ten slots, one of them a device.
pub struct SmallBroker {
    pub daemon: Daemon,
    pub get: Request,
    pub add: Request,
    pub open: Request,
}

/// A daemon with as many rules and slots as one likes.
pub struct BigBroker {
    pub daemon: Daemon,
    pub get: Request,
}

const DEVICE: i32 = 9;

impl SmallBroker {
    pub fn start() -> Self {
        Self::of(Daemon::with_policy(&policy(10)).start())
    }

    /// The same with another daemon, such as that of the commit before.
    pub fn start_other(program: PathBuf) -> Self {
        Self::of(Daemon::with_policy(&policy(10)).daemon(program).start())
    }

    fn of(daemon: Daemon) -> Self {
        fill(&daemon, 9);
        let get = Request::new(&daemon, Kind::Get, 3);
        let add = Request::new(&daemon, Kind::Add, 4);
        let open = Request::new(&daemon, Kind::Get, DEVICE);
        Self { get, add, open, daemon }
    }
}

impl BigBroker {
    pub fn start(rules: u32, slots: i32) -> Self {
        let builder = Daemon::with_policy(&policy(rules));
        let daemon = builder.setting("max_slots_per_uid = 1000000").start();
        fill(&daemon, slots);
        let get = Request::new(&daemon, Kind::Get, 3);
        Self { get, daemon }
    }
}

/// So many rules: one for the slots that are used, the others for slots of others.
pub fn policy(rules: u32) -> String {
    let mut text = String::from(
        "[tags.escrow]\nid = 1\n\
         [tags.elsewhere]\nid = 2\n\
         [resources.null]\nslot = \"escrow/9\"\ndevice = \"/dev/null\"\naccess = \"read-write\"\n\
         [[rules]]\nid = \"everyone\"\nallow = [\"*\"]\nslots = [\"escrow/*\"]\nanyone = true\n",
    );
    for number in 1..rules {
        let first = number * 10;
        let (tag, last) = (if number % 2 == 0 { "escrow" } else { "elsewhere" }, first + 9);
        write!(
            text,
            "[[rules]]\nid = \"rule {number}\"\nallow = [\"get\"]\n\
             slots = [\"{tag}/{first}-{last}\"]\nuser = {}\n",
            70_000 + number
        )
        .expect("a string has room");
    }
    text
}

/// Deposits payloads in slots from 0 on, and a descriptor in slot 3.
fn fill(daemon: &Daemon, slots: i32) {
    let mut peer = daemon.connect();
    let indices: Vec<i32> = (0..slots).filter(|index| *index != DEVICE).collect();
    for part in indices.chunks(200) {
        let bytes: Vec<u8> =
            part.iter().flat_map(|index| request::add((1, *index), -1, b"x")).collect();
        peer.send(&bytes, &[]);
        part.iter().for_each(|_| peer.answer().done());
    }
    peer.add_descriptor((1, 3), File::open("/dev/null").unwrap(), "").done();
}

impl Request {
    fn new(daemon: &Daemon, kind: Kind, index: i32) -> Self {
        let broker = Broker::connect_to(daemon.socket()).unwrap();
        let (slot, file) = (Slot::new(1, index).unwrap(), File::open("/dev/null").unwrap());
        Self { broker, kind, slot, file }
    }

    /// One request, its answer, and the close of the descriptor that came.
    pub fn exchange(&mut self) -> impl FnMut() {
        || match self.kind {
            Kind::Get => {
                let deposit = self.broker.get(self.slot).unwrap();
                assert!(deposit.descriptor.is_some());
            }
            Kind::Add => self.broker.add(self.slot, Some(self.file.as_fd()), b"").unwrap(),
        }
    }
}
