//! The broker's log: what happened, and the audit trail of what was decided.
//!
//! Both processes write it. A line is on its way before the answer it speaks of (rule: recorded
//! before answered), and writing one never waits for its reader: see [`stream`],
//! [`standard_error`] and [`journal`].
//! Everything that came from outside is escaped by the form that is written.

mod fields;
mod handed_out;
mod journal;
mod json;
mod record;
mod sentence;
mod standard_error;
mod stream;
mod text;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use fields::{Field, Value};
pub(crate) use handed_out::{HandedOut, LeaseEnd};
pub(crate) use json::object;
pub(crate) use record::{Entry, Kind, Level, Name, OwnedRecord, Record, Subject, Verdict};
#[cfg(test)]
pub(crate) use record::{sample, sample_of_a_run};
pub(crate) use standard_error::StandardError;

/// How often a log that nobody reads is tried again.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// A line for a person, on standard error.
    Text,
    /// A JSON object on a line of its own, on standard error.
    Json,
    /// Native entries with fields, to the journal.
    Journald,
}

impl Format {
    /// The journal under a service manager that connected standard error to it, else text.
    pub(crate) fn detect() -> Self {
        if journal::is_standard_error() { Self::Journald } else { Self::Text }
    }
}

/// Where this process writes its log.
pub(crate) struct Log {
    sink: RefCell<Sink>,
    /// Told when a line has to wait for a slow reader.
    waits: Notify,
}

enum Sink {
    Stream(stream::Stream),
    Journal(journal::Journal),
}

impl Log {
    /// A log in this form.
    ///
    /// # Errors
    /// When the journal's socket cannot be reached.
    pub(crate) fn open(format: Format) -> io::Result<Self> {
        Self::to(format, StandardError::open())
    }

    /// A log in this form; for those that go to standard error, to what was opened for it.
    ///
    /// # Errors
    /// When the journal's socket cannot be reached.
    pub(crate) fn to(format: Format, standard_error: StandardError) -> io::Result<Self> {
        let sink = match format {
            Format::Text => Sink::Stream(stream::Stream::new(standard_error, text::line)),
            Format::Json => Sink::Stream(stream::Stream::new(standard_error, json::line)),
            Format::Journald => Sink::Journal(journal::Journal::connect()?),
        };
        Ok(Self { sink: RefCell::new(sink), waits: Notify::new() })
    }

    /// What the worker is to have as its standard error.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn for_worker(&self) -> io::Result<Option<OwnedFd>> {
        match &*self.sink.borrow() {
            Sink::Stream(stream) => stream.target().for_worker(),
            Sink::Journal(_) => Ok(None),
        }
    }

    /// Writes an entry.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let written = match &mut *self.sink.borrow_mut() {
            Sink::Stream(stream) => stream.write(entry),
            Sink::Journal(journal) => {
                journal.write(entry);
                true
            }
        };
        if !written {
            self.waits.notify_one();
        }
    }

    /// Writes the queued lines as a slow reader makes room, even if nothing more is logged. Never
    /// ends.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            // First, since a caller that dropped this in the middle may call it again.
            while self.flush() {
                tokio::time::sleep(FLUSH_EVERY).await;
            }
            self.waits.notified().await;
        }
    }

    /// Writes nothing more: the process exits without dropping this.
    pub(crate) fn end(&self) {
        if let Sink::Journal(journal) = &mut *self.sink.borrow_mut() {
            journal.end();
        }
    }

    /// Writes what a slow reader left behind; whether something still waits.
    fn flush(&self) -> bool {
        match &mut *self.sink.borrow_mut() {
            Sink::Stream(stream) => stream.flush(),
            Sink::Journal(_) => false,
        }
    }

    /// Something worth knowing.
    pub(crate) fn info(&self, message: &str) {
        self.write(&Entry::event(Level::Info, message));
    }

    /// Something that will need attention.
    pub(crate) fn warn(&self, message: &str) {
        self.write(&Entry::event(Level::Warning, message));
    }

    /// Something that went wrong.
    pub(crate) fn error(&self, message: &str) {
        self.write(&Entry::event(Level::Error, message));
    }
}
