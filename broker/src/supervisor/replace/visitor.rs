//! A broker that asks to take over, until it is ready to have everything.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use fdbroker_host::Standing;
use fdbroker_wire::Handover;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::asker::{must_see, refuse};
use super::message::{Said, read};
use super::process::BrokerProcess;
use super::room::has_room_for;
use super::shown::Shown;
use crate::fd::CloseQueue;
use crate::supervisor::audit::records::Records;
use crate::supervisor::workers::link::Link;

/// How long one may take from its first word until it is ready to have everything.
const PREPARING: Duration = Duration::from_secs(60);

/// One that asks.
pub(super) struct Visitor {
    link: Box<Link>,
    process: BrokerProcess,
    until: Instant,
    shown: Shown,
    is_welcome: bool,
}

/// One that is ready to have everything.
pub(crate) struct Successor {
    pub(crate) link: Box<Link>,
    pub(crate) process: BrokerProcess,
}

impl Visitor {
    /// # Errors
    /// If there is no descriptor left, or no memory.
    pub(super) fn new(
        stream: OwnedFd,
        process: BrokerProcess,
        standing: Standing,
        close_queue: &CloseQueue,
    ) -> io::Result<Self> {
        let stream = UnixStream::from_std(StdStream::from(stream))?;
        let link = Box::new(Link::new(stream, close_queue.clone())?);
        let shown = if must_see(standing) { Shown::new()? } else { Shown::nothing() };
        let until = Instant::now() + PREPARING;
        Ok(Self { link, process, until, shown, is_welcome: false })
    }

    /// Reads its next message; returns whether it is ready. Can be dropped and called again.
    pub(super) async fn asks(
        &mut self,
        records: &Records,
        needed: &impl Fn() -> u32,
    ) -> Result<bool, String> {
        let message = timeout_at(self.until, self.link.message()).await;
        let message = message.map_err(|_| "it takes too long".to_owned())?;
        match read(message.map_err(|error| error.to_string())?)? {
            Said::Handover(Handover::Ask { version }) => self.answer(version, needed()),
            Said::Handover(Handover::Begin { room, name }) if self.is_welcome => {
                return Ok(self.may_begin(room, &name, needed(), records));
            }
            _ => return Err("it does not ask".to_owned()),
        }
        Ok(false)
    }

    fn answer(&mut self, version: u32, descriptors: u32) {
        let own = Handover::<OwnedFd>::VERSION;
        self.is_welcome = version == own;
        if self.is_welcome {
            let shown = self.shown.number();
            return self.link.handover(Handover::Welcome { descriptors, shown });
        }
        let why = format!("it speaks version {version} of the hand-over, and I version {own}");
        self.link.handover(Handover::Refused(why));
    }

    /// Whether nothing speaks against it. Nothing has been stopped yet.
    fn may_begin(&mut self, room: u64, name: &str, descriptors: u32, records: &Records) -> bool {
        let problem = if self.shown.is_called(name) {
            has_room_for(descriptors, room).err()
        } else {
            let why = format!("process {} {MAY_NOT_LOOK}", self.process.pid());
            refuse(&self.process, &why, records);
            Some(why)
        };
        let may = problem.is_none();
        problem.into_iter().for_each(|why| self.link.handover(Handover::Refused(why)));
        may
    }

    pub(super) fn into_successor(self) -> Successor {
        Successor { link: self.link, process: self.process }
    }
}

const MAY_NOT_LOOK: &str =
    "may not look into this broker: Landlock or another security module confines it more";
