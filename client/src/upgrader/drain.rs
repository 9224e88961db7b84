//! Accepting what waits in sockets that are to go, so that no connection is lost with them.
//!
//! First the kernel is told to choose the socket by the client's port, which shows where in its order of the group the
//! sockets are that are to go. Then it is told to put new connections into the others (`steering.rs`). Connections that had
//! begun by then may still come, and so the sockets stay for a while. If others come too, the places were wrong, and all of
//! it is done again.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use super::group::Group;
use super::group_order::GroupOrder;
use super::reachable::has_stopped_listening;
use super::steering::{by_port, let_go, place_of, steer};

/// How long a step may take. A connection that had begun before it has this time to come.
const STEP: Duration = Duration::from_millis(900);

/// What comes later than this had not begun before the step.
const BEGUN: Duration = Duration::from_millis(400);

/// How often the places of the sockets are looked for.
const TRIES: u32 = 3;

/// How long all of it may take. Its steps take 5.4 s; the rest is for a program that works on each connection before it
/// asks for the next. Without this, a busy server that cannot be steered would drain for ever.
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait after an error: what waits is there at once again, and descriptors need time to become free.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that wait in surplus sockets: see [`super::Surplus::drain`].
#[derive(Debug)]
pub struct Drain {
    groups: Vec<Draining>,
    until: Instant,
    has_failed: bool,
}

#[derive(Debug)]
struct Draining {
    group: Group,
    step: Step,
    began: Instant,
    tries: u32,
    /// Where surplus sockets are in the kernel's order of the group.
    places: BTreeMap<usize, usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Looking for the places of the surplus sockets.
    Learning,
    /// New connections go to the other sockets.
    Steered,
    /// They do not.
    Misdirected,
}

impl Drain {
    pub(super) fn begin(groups: Vec<Group>) -> Self {
        Self::begin_within(groups, LONGEST)
    }

    fn begin_within(groups: Vec<Group>, longest: Duration) -> Self {
        let until = Instant::now() + longest;
        let groups = groups.into_iter().map(Draining::begin).collect();
        Self { groups, until, has_failed: false }
    }

    fn pause_after_an_error(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            sleep(PAUSE);
        }
    }

    fn wait(&self) {
        let sockets = self.groups.iter().flat_map(|draining| &draining.group.surplus);
        let living = sockets.filter(|socket| !has_stopped_listening(socket.as_fd()));
        let mut sources: Vec<_> = living.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let left = self.groups.iter().map(Draining::left).min().unwrap_or_default();
        // Interrupted is as good as woken.
        let _ = poll(&mut sources, Timespec::try_from(left).ok().as_ref());
    }
}

impl Iterator for Drain {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pause_after_an_error();
        while !self.groups.is_empty() && Instant::now() < self.until {
            let is_over: Vec<_> = self.groups.iter_mut().map(Draining::go_on).collect();
            if let Some(accepted) = self.groups.iter_mut().find_map(Draining::accept) {
                self.has_failed = accepted.is_err();
                return Some(accepted);
            }
            // What is dropped is shut down.
            let mut is_over = is_over.into_iter();
            self.groups.retain(|_| is_over.next() != Some(true));
            self.wait();
        }
        self.groups.clear();
        None
    }
}

impl Draining {
    fn begin(group: Group) -> Self {
        for socket in &group.surplus {
            // Another process may be faster to accept what poll(2) told of.
            let _ = socket.set_nonblocking(true);
        }
        let (began, places) = (Instant::now(), BTreeMap::new());
        let mut draining = Self { group, step: Step::Learning, began, tries: 0, places };
        draining.learn();
        draining
    }

    /// Takes the next step if its time has come; returns whether there is none.
    fn go_on(&mut self) -> bool {
        let is_known = self.places.len() == self.group.surplus.len();
        match self.step {
            Step::Learning if is_known || self.left().is_zero() => self.steer(),
            Step::Misdirected if self.tries < TRIES => self.learn(),
            _ => return self.left().is_zero(),
        }
        false
    }

    fn learn(&mut self) {
        self.places.clear();
        self.tries += 1;
        by_port(&self.group.member, self.sockets());
        self.begin_step(Step::Learning);
    }

    fn steer(&mut self) {
        self.steer_to(&self.order().kept());
        self.begin_step(Step::Steered);
    }

    fn steer_to(&self, places: &[usize]) {
        let places: Vec<_> = places.iter().filter_map(|place| u32::try_from(*place).ok()).collect();
        // Otherwise the kernel chooses, and what comes to a surplus socket at the end is lost.
        steer(&self.group.member, &places);
    }

    fn order(&self) -> GroupOrder {
        let surplus = self.group.surplus.len();
        let known = self.places.iter().map(|(socket, place)| (*socket, *place));
        GroupOrder::of(self.sockets(), surplus, known)
    }

    fn begin_step(&mut self, step: Step) {
        (self.step, self.began) = (step, Instant::now());
    }

    /// How many sockets the group has.
    fn sockets(&self) -> usize {
        self.group.kept + self.group.surplus.len()
    }

    fn left(&self) -> Duration {
        STEP.saturating_sub(self.began.elapsed())
    }

    /// Returns a connection that waits; an error if there is no room for it. At the end of a step, an error is none.
    fn accept(&mut self) -> Option<io::Result<TcpStream>> {
        let mut sockets = self.group.surplus.iter().enumerate();
        let (socket, accepted) =
            sockets.find_map(|(number, socket)| Some((number, accept(socket)?)))?;
        match accepted {
            Err(_) if self.left().is_zero() => None,
            Err(error) => Some(Err(error)),
            Ok((connection, client)) => {
                self.came(socket, client);
                Some(Ok(connection))
            }
        }
    }

    /// Notes what a connection tells of the socket that it came to.
    fn came(&mut self, socket: usize, client: SocketAddr) {
        if self.began.elapsed() < BEGUN {
            return;
        }
        match self.step {
            Step::Learning => {
                let place = place_of(client.port(), self.sockets());
                self.places.insert(socket, place);
            }
            Step::Steered | Step::Misdirected => self.step = Step::Misdirected,
        }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        let mut order = self.order();
        while let Some((to, socket)) = order.remove_one() {
            self.steer_to(&to);
            // Closing it would not do: the predecessor may have it still.
            let _ = self.group.surplus.get(socket).map(|socket| shutdown(socket, Shutdown::Read));
        }
        let_go(&self.group.member);
    }
}

/// Accepts a connection; `None` if nothing waits. Somebody was faster, the client has gone, or the socket was shut down.
fn accept(socket: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    match socket.accept() {
        Ok(accepted) => Some(Ok(accepted)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::InvalidInput => None,
            _ => Some(Err(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::Options;

    fn listener() -> TcpListener {
        Options::new().reuse_port(true).bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    /// The member is of another group, as good as one that cannot be steered.
    fn unsteered(surplus: TcpListener) -> Group {
        let mut group = Group::of(listener().into());
        group.keep(listener());
        group.add_surplus(surplus.into());
        group
    }

    #[test]
    fn a_drain_of_a_busy_server_that_cannot_be_steered_ends_at_its_time() {
        let surplus = listener();
        let address = surplus.local_addr().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = TcpStream::connect(address);
                }
            });
            let began = Instant::now();
            let longest = Duration::from_millis(300);
            let mut drain = Drain::begin_within(vec![unsteered(surplus)], longest);
            let patience = Duration::from_secs(2);
            let served = drain.by_ref().take_while(|_| began.elapsed() < patience).count();
            is_over.store(true, Ordering::Relaxed);
            assert!(served > 0 && began.elapsed() < patience);
            assert!(drain.next().is_none());
        });
    }

    #[test]
    fn a_drain_pauses_after_each_error() {
        // Nothing can be accepted from it.
        let surplus: std::os::fd::OwnedFd = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let longest = Duration::from_millis(500);
        let drain = Drain::begin_within(vec![unsteered(surplus.into())], longest);
        let errors = drain.take(1000).inspect(|accepted| assert!(accepted.is_err())).count();
        assert!((1..=6).contains(&errors), "{errors} errors");
    }
}
