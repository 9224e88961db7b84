//! Native journal entries, from a thread of their own.
//!
//! The journal's socket blocks when journald does not read: entries go through a bounded queue
//! to a thread that may wait; those that find the queue full are dropped and counted, and the
//! count is an entry of its own afterwards. So the journal is a copy for reading, not a trail
//! that never loses.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::dispatcher::{Dispatch, with_default};
use tracing_subscriber::layer::SubscriberExt;

use super::fields::{shown, with_fields};
use super::record::{Entry, Kind, Level, OwnedRecord, Record};

const MAX_WAITING: usize = 4096;
/// How long the last entries may take when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

pub(super) struct Journal {
    /// Until the first entry: a process that confines itself starts no thread before it has.
    ways: Option<Ways>,
    /// From the first entry on; taken out when dropped.
    queue: Option<SyncSender<Owned>>,
    dropped: Arc<AtomicU64>,
    /// Ends when the thread has sent everything.
    finished: Option<Receiver<()>>,
}

/// An entry on its way to the thread.
struct Owned {
    level: Level,
    message: String,
    audit: Option<OwnedRecord>,
}

/// Whether standard error goes to the journal: JOURNAL_STREAM names its device and inode, see
/// systemd.exec(5).
pub(super) fn is_standard_error() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let descriptor = crate::sys::adopt::standard_error();
    let Ok(file) = descriptor.try_clone_to_owned().map(std::fs::File::from) else { return false };
    file.metadata().is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

impl Journal {
    pub(super) fn connect() -> io::Result<Self> {
        let ways = Some(Ways::open()?);
        Ok(Self { ways, queue: None, dropped: Arc::default(), finished: None })
    }

    pub(super) fn write(&mut self, entry: &Entry<'_>) {
        if let Some(ways) = self.ways.take() {
            self.start(ways);
        }
        let sent =
            self.queue.as_ref().is_some_and(|queue| queue.try_send(Owned::of(entry)).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Starts the thread. Without one, every entry is dropped.
    fn start(&mut self, ways: Ways) {
        let (queue, entries) = sync_channel(MAX_WAITING);
        let counted = Arc::clone(&self.dropped);
        let (finish, finished) = sync_channel(1);
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let started = thread.spawn(move || {
            drain(&entries, &counted, &ways);
            // Nobody waits for it if the process has been told to go on.
            let _ = finish.send(());
        });
        if started.is_ok() {
            (self.queue, self.finished) = (Some(queue), Some(finished));
        }
    }
}

impl Journal {
    /// Waits a moment for the last entries, which say why a process ends, to be sent.
    pub(super) fn end(&mut self) {
        self.queue = None;
        // A journald that does not read must not keep the process.
        let _ = self.finished.as_ref().map(|finished| finished.recv_timeout(LAST_WORDS));
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Owned {
    fn of(entry: &Entry<'_>) -> Self {
        let audit = entry.record.map(Record::owned);
        let message = match &entry.record {
            Some(record) => record.sentence(),
            None => entry.message.to_owned(),
        };
        Self { level: entry.level, message, audit }
    }
}

/// The ways to the journal: one for each kind of record, since a MESSAGE_ID belongs to a way and
/// not to an entry; and one for what is no record.
struct Ways {
    records: [Dispatch; Kind::ALL.len()],
    plain: Dispatch,
}

impl Ways {
    fn open() -> io::Result<Self> {
        let plain = way(None)?;
        let mut records = Kind::ALL.map(|_| plain.clone());
        for (place, kind) in records.iter_mut().zip(Kind::ALL) {
            *place = way(Some(kind))?;
        }
        Ok(Self { records, plain })
    }

    fn of(&self, entry: &Owned) -> &Dispatch {
        let kind = entry.audit.as_ref().map(|record| record.borrow().kind);
        kind.and_then(|kind| self.records.get(kind as usize)).unwrap_or(&self.plain)
    }
}

fn way(kind: Option<Kind>) -> io::Result<Dispatch> {
    let layer = tracing_journald::Layer::new()?
        .with_field_prefix(Some("FDBROKER".to_owned()))
        .with_syslog_identifier("fdbrokerd".to_owned())
        .with_custom_fields(kind.map(|kind| ("MESSAGE_ID", kind.message_id())));
    Ok(Dispatch::new(tracing_subscriber::registry().with(layer)))
}

fn drain(entries: &Receiver<Owned>, dropped: &AtomicU64, ways: &Ways) {
    for entry in entries {
        with_default(ways.of(&entry), || emit(&entry));
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            with_default(&ways.plain, || {
                tracing::warn!("log entries dropped: {lost}; journald did not read them");
            });
        }
    }
}

/// What a field is in the journal.
macro_rules! in_journal {
    (Subject $value:expr) => {
        $value.to_string()
    };
    (Name $value:expr) => {
        $value.to_string()
    };
    (Rule $value:expr) => {
        $value.unwrap_or("none")
    };
    (MaybeTime $value:expr) => {
        $value.map(shown)
    };
    ($kind:ident $value:expr) => {
        $value
    };
}

macro_rules! send {
    ([$level:ident $message:ident] $($kind:ident $name:ident $journal:literal = $value:expr),*) => {
        tracing::$level!($($name = in_journal!($kind $value),)* "{}", $message)
    };
}

fn emit(Owned { level, message, audit }: &Owned) {
    let audit = audit.as_ref().map(OwnedRecord::borrow);
    macro_rules! at {
        ($level:ident) => {
            match audit {
                None => tracing::$level!("{message}"),
                Some(record) => with_fields!(record => send $level message),
            }
        };
    }
    match level {
        Level::Error => at!(error),
        Level::Warning => at!(warn),
        Level::Info => at!(info),
    }
}
