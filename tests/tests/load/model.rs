//! The broker beside a model of it: random requests of random peers under random policies, with
//! worker and broker killed in between.
//!
//! `FDBROKER_MODEL_OPERATIONS` says how many requests are made, and `FDBROKER_SEED` what they
//! are; the seed is told, so that a difference can be looked at again.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_tests::helper_process::Connection;
use fdbroker_tests::model::{Broker, Expected, Held, Policy, Random, Request, SessionOf, Who};
use fdbroker_tests::{
    Answer, Daemon, HelperProcess, Ids, fixtures, is_root, request, turns, wait_until,
};
use fdbroker_wire::claim::{Event, Mode, State};
use fdbroker_wire::opcode::STATUS;
use fdbroker_wire::{Decoder, Limits, Message};
use rustix::fs::fstat;

const OPERATIONS: usize = 6000;
/// Five users, one of whom has two processes; and each process has two connections.
const USERS: [u32; 6] = [64101, 64102, 64103, 64104, 64105, 64101];
const GROUPS: [u32; 3] = [64201, 64202, 64103];
const SESSIONS: usize = USERS.len() * 2;
/// How many deposits and bytes of payload one user may have: few enough to be reached.
const QUOTA: (usize, usize) = (6, 1200);

#[test]
fn the_broker_does_what_its_model_does_whatever_is_asked() {
    let _turn = turns::beside_others();
    let operations = number("FDBROKER_MODEL_OPERATIONS").unwrap_or(OPERATIONS as u64);
    let seed = number("FDBROKER_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("it is later than 1970").as_nanos() as u64 % 1_000_000_007
    });
    eprintln!("model: {operations} requests, FDBROKER_SEED={seed}");
    let mut trial = Trial::new(seed);
    for step in 0..operations {
        trial.step(step);
    }
    eprintln!("model: {:?}", trial.counts);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The broker, its model, and who speaks to them.
struct Trial {
    random: Random,
    seed: u64,
    daemon: Daemon,
    model: Broker,
    people: Vec<HelperProcess>,
    who: Vec<Who>,
    sessions: Vec<Option<Client>>,
    /// Files to deposit, by their inodes.
    files: HashMap<u64, OwnedFd>,
    inodes: Vec<u64>,
    resource: String,
    counts: HashMap<&'static str, usize>,
}

/// A connection of another process.
struct Client {
    connection: Connection,
    decoder: Decoder<OwnedFd>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let files: HashMap<u64, OwnedFd> = (0..8)
            .map(|number| fixtures::file_saying(&number.to_string()))
            .map(|file| (fstat(&file).unwrap().st_ino, file))
            .collect();
        let mut inodes: Vec<u64> = files.keys().copied().collect();
        inodes.sort_unstable();
        let (people, who) = everybody();
        let policy = Self::policy(&mut random, &who);
        let (daemon, resource, inode) = start(&policy);
        let model = Broker::new(policy, inode, SESSIONS, QUOTA);
        let sessions = (0..SESSIONS).map(|_| None).collect();
        let counts = HashMap::new();
        Self { random, seed, daemon, model, people, who, sessions, files, inodes, resource, counts }
    }

    fn policy(random: &mut Random, who: &[Who]) -> Policy {
        let users: Vec<u32> = who.iter().map(|who| who.uid).collect();
        Policy::random(random, &users, &GROUPS)
    }

    fn step(&mut self, step: u64) {
        match self.random.below(1000) {
            0..3 => self.kill_worker(),
            3 => self.kill_broker(),
            4..10 => self.reload(),
            10..20 => {
                let session = self.random.below(SESSIONS);
                self.end(session);
            }
            _ => self.ask(step),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn ask(&mut self, step: u64) {
        let session = self.random.below(SESSIONS);
        let (uid, inodes) = (self.who[session].uid, &self.inodes);
        let request = Request::random(&mut self.random, uid, &mut |random| random.pick(inodes));
        self.ask_this(step, session, &request);
    }

    fn ask_this(&mut self, step: u64, session: usize, request: &Request) {
        let uid = self.who[session].uid;
        if let Request::AddMany(_, new) = request
            && !self.can_tell_which(uid, new)
        {
            return self.count("left out");
        }
        let of = SessionOf { number: session, who: &self.who[session] };
        let expected = self.model.ask(of, request, &self.who);
        if expected == Expected::Waits {
            return self.count("would wait");
        }
        let mut got = self.answer(session, request);
        // What was closed counts until it has been: then the same must be done a moment later.
        if got == Expected::Reply(libc::EDQUOT) && self.model.may_count_more(uid) {
            wait_until("what was deleted counts no more", || {
                got = self.answer(session, request);
                got != Expected::Reply(libc::EDQUOT) || expected == got
            });
        }
        assert_eq!(
            got,
            expected,
            "FDBROKER_SEED={} step {step}: session {session}, {:?}, asked {request:?} under\n{}",
            self.seed,
            self.who[session],
            self.model.policy().text("r0"),
        );
        self.count(match got {
            Expected::Reply(0) => "done",
            Expected::Reply(libc::EACCES) => "refused",
            Expected::Reply(_) => "failed",
            Expected::Claimed(_) => "claimed",
            _ => "answered",
        });
    }

    /// Whether it can be told which of many deposits are over the quota: not while something is
    /// still to be closed, and not when they replace files.
    fn can_tell_which(&mut self, uid: u32, new: &[(i32, Held)]) -> bool {
        if !self.model.has_room_for(uid, new.iter().map(|(_, held)| held)) {
            return false;
        }
        let closing = self.model.may_count_more(uid);
        if closing && is_root() {
            self.all_is_closed();
        }
        !closing || is_root()
    }

    fn all_is_closed(&mut self) {
        let mut operator = self.daemon.greeted();
        let expected = format!("\ndescriptors={}\n", self.model.files());
        wait_until("what was deleted has been closed", || {
            match operator.ask(&request::extended(STATUS, &[]), &[]) {
                Answer::Extended { body, .. } => {
                    String::from_utf8_lossy(&body[4..]).contains(&expected)
                }
                answer => panic!("no status: {answer:?}"),
            }
        });
    }

    fn answer(&mut self, session: usize, request: &Request) -> Expected {
        if self.sessions[session].is_none() {
            self.sessions[session] = Some(Client::new(&self.people[session / 2], &self.daemon));
        }
        let Some(client) = &mut self.sessions[session] else { unreachable!("it was just made") };
        let brought = request.files();
        let brought: Vec<BorrowedFd<'_>> =
            brought.iter().map(|inode| self.files[inode].as_fd()).collect();
        let answer = client.ask(&request.bytes(), &brought);
        if matches!(request, Request::GetMany(_, _, true)) {
            // What was taken is deleted after its answer, and before the next one.
            client.ask(&request::hello(), &[]);
        }
        Expected::of(answer)
    }

    /// A connection ends; what it owned is another's by then.
    fn end(&mut self, session: usize) {
        if let Some(client) = self.sessions[session].take() {
            client.end();
        }
        self.model.end(session, &self.who);
        self.count("connections ended");
    }

    fn reload(&mut self) {
        let policy = Self::policy(&mut self.random, &self.who);
        self.daemon.reload(&policy.text(&self.resource));
        self.model.reload(policy);
        self.count("policies");
    }

    /// The worker dies: everything stays, and each tag is kept for the process that owned it.
    fn kill_worker(&mut self) {
        for session in 0..SESSIONS {
            let owned = self.model.owned_by(session);
            let claims =
                |tag: &i16| self.model.policy().allows_tag(&self.who[session], "claim", *tag);
            // A session that may not claim its tag could not claim it again.
            if !owned.iter().all(claims) {
                self.end(session);
            }
        }
        self.daemon.kill_worker();
        self.sessions.iter_mut().for_each(|session| *session = None);
        for (tag, owner) in self.model.lose_worker() {
            self.owner_comes_back(tag, owner);
        }
        self.count("workers killed");
    }

    fn owner_comes_back(&mut self, tag: i16, owner: usize) {
        let policy = self.model.policy();
        let other = (0..SESSIONS).find(|other| {
            other / 2 != owner / 2 && policy.allows_tag(&self.who[*other], "claim", tag)
        });
        let again = Request::Claim(tag, Mode::Again);
        if let Some(other) = other {
            assert_eq!(self.answer(other, &again), Expected::Reply(libc::ESTALE), "{}", self.seed);
        }
        assert_eq!(self.answer(owner, &again), Expected::Claimed(State::Owned), "{}", self.seed);
        let of = SessionOf { number: owner, who: &self.who[owner] };
        self.model.ask(of, &again, &self.who);
    }

    /// Both processes die: nothing stays.
    fn kill_broker(&mut self) {
        self.daemon.kill();
        self.sessions.iter_mut().for_each(|session| *session = None);
        let policy = Self::policy(&mut self.random, &self.who);
        let (daemon, resource, inode) = start(&policy);
        (self.daemon, self.resource) = (daemon, resource);
        self.model.restart(policy, inode);
        self.count("brokers killed");
    }
}

/// Processes of other users, as far as we may make them; and who each session is.
fn everybody() -> (Vec<HelperProcess>, Vec<Who>) {
    let people = USERS.iter().enumerate().map(|(number, uid)| {
        let groups = vec![GROUPS[number % 2]];
        if is_root() {
            let ids = Ids { uid: *uid, gid: *uid, groups: groups.clone() };
            let groups = [vec![*uid], groups].concat();
            return (HelperProcess::who_is(ids), Who { uid: *uid, groups });
        }
        let own = Ids::own();
        let gids = rustix::process::getgroups().expect("our own groups");
        let groups = gids.iter().map(|gid| gid.as_raw()).chain([own.gid]).collect();
        (HelperProcess::same(), Who { uid: own.uid, groups })
    });
    let (people, who): (Vec<_>, Vec<_>) = people.unzip();
    (people, who.into_iter().flat_map(|who| [who.clone(), who]).collect())
}

/// A broker, the path of its resource, and that file's inode.
fn start(policy: &Policy) -> (Daemon, String, u64) {
    let builder = Daemon::with_policy("");
    let path = builder.directory().file("resource", "resource", 0o644);
    let inode = fstat(std::fs::File::open(&path).unwrap()).unwrap().st_ino;
    let path = path.to_str().expect("the path is UTF-8").to_owned();
    let builder = builder
        .policy(&policy.text(&path))
        .setting(&format!("max_slots_per_uid = {}", QUOTA.0))
        .setting(&format!("max_payload_bytes_per_uid = {}", QUOTA.1));
    (builder.start(), path, inode)
}

impl Client {
    fn new(helper: &HelperProcess, daemon: &Daemon) -> Self {
        let connection = helper.open_connection(daemon.socket()).expect("the broker accepts");
        let mut client = Self { connection, decoder: Decoder::new(Limits::PEER) };
        client.ask(&request::hello(), &[]);
        client
    }

    /// Asks, and waits for the answer; events are left aside.
    fn ask(&mut self, bytes: &[u8], brought: &[BorrowedFd<'_>]) -> Message<OwnedFd> {
        self.connection.send(bytes, brought).expect("the request is sent");
        loop {
            match self.decoder.message() {
                Some(Ok(Message::Extended(message))) if Event::is(&message) => {}
                Some(message) => return message.expect("the broker keeps to the protocol"),
                None => self.read().expect("the broker answers"),
            }
        }
    }

    fn read(&mut self) -> std::io::Result<()> {
        let received = self.connection.receive(1 << 17)?;
        if received.bytes.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.decoder.feed(&received.bytes, received.descriptors, received.truncated);
        Ok(())
    }

    /// Ends the connection, and waits until the broker has done so too.
    fn end(mut self) {
        let socket = self.connection.share().expect("it is shared");
        rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).expect("it is shut down");
        while self.read().is_ok() {
            while self.decoder.message().is_some() {}
        }
    }
}
