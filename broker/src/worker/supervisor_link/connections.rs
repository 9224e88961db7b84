//! The table of connections that are served: so that they can all be ended at once.
//!
//! The supervisor gets a duplicate of each: when this worker is gone and a thread of it still keeps
//! its descriptors open, the supervisor ends the connections. A connection is announced a moment
//! after it was accepted, with others; one that leaves before costs the supervisor nothing. One that
//! was announced counts until the supervisor's duplicate is closed, and the one that was sent.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, hash_map};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use fdbroker_wire::{Control, Joined, Tally};
use rustix::net::{Shutdown, shutdown};
use tokio::sync::Notify;

use super::write::SupervisorLink;
use crate::fd::{CloseQueue, PeerFd};
use crate::payer::Payer;
use crate::sys::watch::Watched;
use crate::worker::limits::quota::{ConnectionCharge, Quotas};

/// How long a new connection waits for others before it is announced.
const DELAY: Duration = Duration::from_millis(10);
/// How many are announced in one message: each is a descriptor in flight.
const BATCH: usize = 32;

/// All connections.
#[derive(Default)]
pub(crate) struct Connections(Rc<Table>);

#[derive(Default)]
struct Table {
    open: RefCell<HashMap<u32, Connection>>,
    /// What the supervisor has not been told yet.
    joined: RefCell<Vec<u32>>,
    left: RefCell<Vec<u32>>,
    /// Those of earlier workers, which count until the same.
    former: RefCell<HashMap<Payer, Vec<ConnectionCharge>>>,
    /// What has ended, and counts until the supervisor's duplicate is closed.
    parting: RefCell<Parting>,
    next: Cell<u32>,
    news: Notify,
}

/// Connections by number, and how many each user has of them.
#[derive(Default)]
struct Parting {
    all: HashMap<u32, (Payer, Arc<ConnectionCharge>)>,
    of: HashMap<Payer, usize>,
}

struct Connection {
    payer: Payer,
    stream: Weak<Watched>,
    /// Not there any more where its peer has hung up and that was noticed.
    charge: std::sync::Weak<ConnectionCharge>,
    /// Once it has been announced.
    announced: Option<Arc<ConnectionCharge>>,
}

/// A connection's entry in the table, until this is dropped.
pub(crate) struct TableEntry {
    number: u32,
    table: Rc<Table>,
}

impl Connections {
    /// Tells the supervisor of connections and of their ends. Never ends.
    pub(crate) async fn announce(&self, link: &SupervisorLink, close_queue: &CloseQueue) {
        let table = &self.0;
        loop {
            table.news.notified().await;
            tokio::time::sleep(DELAY).await;
            loop {
                let guard = link.lock().await;
                let batch = table.batch(close_queue, |socket| socket.try_clone_to_owned());
                let Some((joined, left)) = batch else { break table.look_again() };
                let lent = joined.iter().filter_map(|joined| {
                    let (number, uid) = (joined.number, joined.uid);
                    Some(Joined { number, uid, socket: joined.socket.descriptor()? })
                });
                let message = Control::Connections { joined: lent.collect(), left: left.clone() };
                if guard.control_soon(message).await.is_err() {
                    table.joined.borrow_mut().extend(joined.iter().map(|joined| joined.number));
                    table.left.borrow_mut().extend(left);
                    break table.look_again();
                }
            }
        }
    }

    /// Enters a connection of `payer`, which is charged with this.
    pub(crate) fn enter(
        &self,
        payer: Payer,
        stream: &Rc<Watched>,
        charge: &Arc<ConnectionCharge>,
    ) -> TableEntry {
        let table = &self.0;
        let number = table.next.replace(table.next.get().wrapping_add(1));
        let (stream, charge) = (Rc::downgrade(stream), Arc::downgrade(charge));
        let connection = Connection { payer, stream, charge, announced: None };
        table.open.borrow_mut().insert(number, connection);
        table.joined.borrow_mut().push(number);
        table.news.notify_one();
        TableEntry { number, table: Rc::clone(table) }
    }

    /// The supervisor has closed its duplicates of these.
    pub(crate) fn parted(&self, numbers: &[u32]) {
        let mut parting = self.0.parting.borrow_mut();
        numbers.iter().for_each(|number| parting.remove(*number));
    }

    /// Charges those of earlier workers of which the supervisor has still to close its duplicate.
    pub(crate) fn wait_for(&self, tally: Tally, quotas: &Quotas) {
        let (mut former, payer) = (self.0.former.borrow_mut(), Payer::named(tally.uid));
        for _ in 0..tally.connections {
            former.entry(payer).or_default().push(quotas.former_connection(payer));
        }
    }

    /// The supervisor has closed its duplicates of so many of those.
    pub(crate) fn closed(&self, tally: Tally) {
        let (mut former, payer) = (self.0.former.borrow_mut(), Payer::named(tally.uid));
        let Some(charges) = former.get_mut(&payer) else { return };
        let number = usize::try_from(tally.connections).unwrap_or(usize::MAX);
        charges.truncate(charges.len().saturating_sub(number));
        if charges.is_empty() {
            former.remove(&payer);
        }
    }

    /// Whether any of this user's that have ended still count.
    pub(crate) fn are_parting(&self, payer: Payer) -> bool {
        self.0.former.borrow().contains_key(&payer)
            || self.0.parting.borrow().of.contains_key(&payer)
    }

    /// Ends all connections: their clients see it, whatever becomes of this process.
    pub(crate) fn shut_down(&self) {
        let open = self.0.open.borrow();
        for stream in open.values().filter_map(|connection| connection.stream.upgrade()) {
            // It fails when the client has gone: then there is nothing to end.
            let _ = shutdown(&*stream, Shutdown::Both);
        }
    }
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        let connection = self.table.open.borrow_mut().remove(&self.number);
        let Some(Connection { payer, announced, .. }) = connection else { return };
        if let Some(charge) = announced {
            self.table.parting.borrow_mut().insert(self.number, payer, charge);
            self.table.left.borrow_mut().push(self.number);
            self.table.news.notify_one();
        }
    }
}

impl Parting {
    fn insert(&mut self, number: u32, payer: Payer, charge: Arc<ConnectionCharge>) {
        self.remove(number);
        self.all.insert(number, (payer, charge));
        *self.of.entry(payer).or_default() += 1;
    }

    fn remove(&mut self, number: u32) {
        let Some((payer, _)) = self.all.remove(&number) else { return };
        let hash_map::Entry::Occupied(mut count) = self.of.entry(payer) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl Table {
    /// Has what could not be told be told later.
    fn look_again(&self) {
        if !self.joined.borrow().is_empty() || !self.left.borrow().is_empty() {
            self.news.notify_one();
        }
    }

    /// Some of those that are to be announced, each with what `duplicate` makes, and all that have left.
    fn batch(
        &self,
        close_queue: &CloseQueue,
        duplicate: impl Fn(BorrowedFd<'_>) -> io::Result<OwnedFd>,
    ) -> Option<(Vec<Joined<PeerFd>>, Vec<u32>)> {
        let left = std::mem::take(&mut *self.left.borrow_mut());
        let mut joined = Vec::new();
        while joined.len() < BATCH
            && let Some(number) = { self.joined.borrow_mut().pop() }
        {
            let Some((stream, payer, charge)) = self.find(number) else { continue };
            let Ok(socket) = duplicate(stream.as_fd()) else {
                // There may be room in the table later.
                self.joined.borrow_mut().push(number);
                break;
            };
            let mut socket = close_queue.hold(payer, socket);
            socket.keep_until_closed((Arc::clone(&charge), charge.duplicate()));
            self.mark_announced(number, charge);
            joined.push(Joined { number, uid: payer.uid().0, socket });
        }
        (!joined.is_empty() || !left.is_empty()).then_some((joined, left))
    }

    /// A connection, if it is still there and counts.
    fn find(&self, number: u32) -> Option<(Rc<Watched>, Payer, Arc<ConnectionCharge>)> {
        let open = self.open.borrow();
        let connection = open.get(&number)?;
        Some((connection.stream.upgrade()?, connection.payer, connection.charge.upgrade()?))
    }

    fn mark_announced(&self, number: u32, charge: Arc<ConnectionCharge>) {
        if let Some(connection) = self.open.borrow_mut().get_mut(&number) {
            connection.announced = Some(charge);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    use fdbroker_policy::Settings;
    use fdbroker_wire::{Decoder, Limits, Message};

    use super::*;
    use crate::worker::limits::quota::Quotas;

    const USER: Payer = Payer::named(7);

    /// A connection that is served.
    struct Served {
        _stream: Rc<Watched>,
        _charge: Arc<ConnectionCharge>,
        entry: TableEntry,
    }

    fn serve(connections: &Connections, quotas: &Quotas) -> Served {
        let (ours, _) = UnixStream::pair().unwrap();
        let stream = Rc::new(Watched::new(ours.into()).unwrap());
        let charge = Arc::new(quotas.connection(USER).unwrap());
        let entry = connections.enter(USER, &stream, &charge);
        Served { _stream: stream, _charge: charge, entry }
    }

    #[tokio::test]
    async fn connections_for_whose_duplicates_there_is_no_room_are_announced_later() {
        let (queue, quotas) = (CloseQueue::new(), Quotas::new(&Settings::default(), 4096));
        let connections = Connections::default();
        let served = [(); 3].map(|()| serve(&connections, &quotas));
        let no_room = |_: BorrowedFd<'_>| Err(ErrorKind::Other.into());
        assert!(connections.0.batch(&queue, no_room).is_none());
        let (joined, _) = connections.0.batch(&queue, |fd| fd.try_clone_to_owned()).unwrap();
        let mut numbers: Vec<_> = joined.iter().map(|joined| joined.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, served.each_ref().map(|served| served.entry.number));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_for_which_the_supervisor_had_no_room_are_announced_later() {
        let (queue, quotas) = (CloseQueue::new(), Quotas::new(&Settings::default(), 4096));
        let connections = Connections::default();
        let (ours, mut supervisor) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while (&ours).write(&[0; 4096]).is_ok() {}
        let full = rustix::io::ioctl_fionread(&supervisor).unwrap();
        let (link, _) = SupervisorLink::new(ours.into()).unwrap();
        let _served = serve(&connections, &quotas);
        let mut decoder = Decoder::<()>::new(Limits::CONTROL);
        let heard = async {
            // It takes nothing for longer than the worker waits.
            tokio::time::sleep(Duration::from_secs(5)).await;
            supervisor.read_exact(&mut vec![0; usize::try_from(full).unwrap()]).unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            supervisor.set_nonblocking(true).unwrap();
            let mut chunk = [0; 4096];
            let length = supervisor.read(&mut chunk).unwrap();
            decoder.feed(&chunk[..length], [()], false);
            decoder.message().unwrap().unwrap()
        };
        let message = tokio::select! {
            message = heard => message,
            () = connections.announce(&link, &queue) => unreachable!(),
        };
        let Message::Extended(message) = message else { panic!("{message:?}") };
        let Ok(Control::Connections { joined, left }) = Control::from_extended(message) else {
            panic!("it is told something else")
        };
        assert_eq!((joined.len(), left.len()), (1, 0));
    }

    #[test]
    fn a_users_connections_part_until_the_supervisor_has_told_of_all_of_them() {
        let quotas = Quotas::new(&Settings::default(), 4096);
        let charge = |uid| Arc::new(quotas.connection(Payer::named(uid)).unwrap());
        let connections = Connections::default();
        for (number, uid) in [(1, 7), (2, 7), (3, 8)] {
            connections.0.parting.borrow_mut().insert(number, Payer::named(uid), charge(uid));
        }
        let mut parting = Vec::new();
        for number in [1, 9, 2, 3] {
            connections.parted(&[number]);
            parting.push([7, 8].map(|uid| connections.are_parting(Payer::named(uid))));
        }
        assert_eq!(parting, [[true, true], [true, true], [false, true], [false, false]]);
    }
}
