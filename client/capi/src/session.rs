//! What stands behind a `struct escrow`: a session with a broker, maybe one that was started for it.

use std::fmt::Display;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker::{Broker, Connector, Deposit, Error, Info, Slot, Tag};
use fdbroker_types::{counted, quoted};

use crate::errno::Errno;
use crate::flags::Flags;
use crate::log::Log;
use crate::{place, program, start};

/// How many tags a broker has that is started here: those of the built-in policy.
const TAGS: i32 = 32;
/// How long to wait for the broker of somebody who started one at the same time.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// A session, and what it writes about itself.
#[derive(Debug)]
pub(crate) struct Session {
    broker: Broker,
    log: Log,
}

/// What `escrow_init` is given.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) path: Option<PathBuf>,
    pub(crate) flags: Flags,
    pub(crate) tags: i32,
    /// Whether the environment is the program's own, and not that of a caller with fewer rights.
    pub(crate) trusted: bool,
}

impl Session {
    /// Connects to the broker at the socket that is meant; starts one if nobody listens there and
    /// the flags ask for it.
    pub(crate) fn begin(wish: Wish) -> Result<Self, Errno> {
        let log = Log { verbose: wish.flags.verbose() };
        let socket = place::socket(wish.path, wish.trusted)?;
        let broker = match connect(&socket) {
            Err(error) if wish.flags.start() && nobody_listens(&error) => {
                log.detail(format_args!(
                    "nobody listens at {socket}; starting a broker",
                    socket = quoted(&*socket)
                ));
                started(&socket, wish.tags, wish.trusted, log)?
            }
            connected => connected.map_err(|error| told(log, &error))?,
        };
        log.detail(format_args!("connected to {socket}", socket = quoted(&*socket)));
        Ok(Self { broker, log })
    }

    pub(crate) fn tag(&mut self, tag: i16) -> Result<Info, Errno> {
        let tag = Tag::new(tag).ok_or(Errno::INVAL)?;
        let info = self.broker.tag(tag);
        self.report(info, |info| {
            format!("tag {tag}: indices below {}, {}", info.used, counted(info.total, "byte"))
        })
    }

    pub(crate) fn get(&mut self, tag: i16, index: i32) -> Result<Deposit, Errno> {
        let slot = slot(tag, index)?;
        let deposit = self.broker.get(slot);
        self.report(deposit, |deposit| {
            let what = if deposit.descriptor.is_some() { "a descriptor and " } else { "" };
            format!("get {slot}: {what}{}", counted(deposit.payload.len(), "byte"))
        })
    }

    pub(crate) fn add(
        &mut self,
        tag: i16,
        index: i32,
        descriptor: Option<BorrowedFd<'_>>,
        payload: &[u8],
    ) -> Result<(), Errno> {
        let slot = slot(tag, index)?;
        if let Some(descriptor) = descriptor {
            // A number that is none must not cost the connection.
            rustix::io::fcntl_getfd(descriptor)
                .map_err(|error| Errno::from(&io::Error::from(error)))?;
        }
        let done = self.broker.add(slot, descriptor, payload);
        self.report(done, |()| format!("add {slot}: {}", counted(payload.len(), "byte")))
    }

    pub(crate) fn del(&mut self, tag: i16, index: i32) -> Result<(), Errno> {
        let slot = slot(tag, index)?;
        let done = self.broker.del(slot);
        self.report(done, |()| format!("del {slot}"))
    }

    fn report<T, D: Display>(
        &self,
        outcome: Result<T, Error>,
        describe: impl FnOnce(&T) -> D,
    ) -> Result<T, Errno> {
        let value = outcome.map_err(|error| told(self.log, &error))?;
        if self.log.verbose {
            self.log.detail(describe(&value));
        }
        Ok(value)
    }
}

fn slot(tag: i16, index: i32) -> Result<Slot, Errno> {
    Slot::new(tag, index).ok_or(Errno::INVAL)
}

fn connect(socket: &Path) -> Result<Broker, Error> {
    Connector::new().socket(socket).connect()
}

fn told(log: Log, error: &Error) -> Errno {
    log.detail(error);
    error.into()
}

fn nobody_listens(error: &Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error, Error::Broken { source, .. }
        if [ConnectionRefused, NotFound].contains(&source.kind()))
}

/// A session with a broker that is started now.
fn started(socket: &Path, tags: i32, trusted: bool, log: Log) -> Result<Broker, Errno> {
    if !(0..=TAGS).contains(&tags) {
        log.detail(format_args!(
            "{tags} tags need a broker with a policy; without a policy it has {TAGS}"
        ));
        return Err(Errno::INVAL);
    }
    let Some(program) = program::daemon(trusted) else {
        log.detail("there is no program fdbrokerd; name it with FDBROKERD, or install it");
        return Err((&io::Error::from_raw_os_error(libc::ENOENT)).into());
    };
    let Err(failure) = start::start(&program, socket, log.verbose) else {
        return connect(socket).map_err(|error| told(log, &error));
    };
    match &failure {
        // With ESCROW_VERBOSE, the broker has written the reason itself.
        start::Failure::Refused(_) if !log.verbose => log.error(&failure),
        _ => log.detail(&failure),
    }
    match failure {
        start::Failure::NotRun(error) => Err((&error).into()),
        start::Failure::Refused(_) => connect(socket).map_err(|error| told(log, &error)),
        start::Failure::Ended => somebody_elses(socket, log),
        start::Failure::Late => Err((&io::Error::from_raw_os_error(libc::ETIMEDOUT)).into()),
    }
}

/// A session with the broker that somebody else has started at the same time.
fn somebody_elses(socket: &Path, log: Log) -> Result<Broker, Errno> {
    let end = Instant::now() + GRACE;
    loop {
        match connect(socket) {
            Err(error) if nobody_listens(&error) && Instant::now() < end => {
                std::thread::sleep(PAUSE);
            }
            connected => return connected.map_err(|error| told(log, &error)),
        }
    }
}
