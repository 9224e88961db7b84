//! How an upgrader is started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Claimed, MAX_TIME, Mode};
use fdbroker_wire::version2::Found;

use super::inventory::Inventory;
use super::program::Program;
use super::shared::{Link, Shared, State, Terms, is_passing};
use super::snapshot::{Snapshot, fetch};
use super::state_machine::{Stage, StateMachine};
use super::{UpgradeError, Upgrader, watch};
use crate::transport::backoff::Backoff;
use crate::{Broker, Connector, Error};

/// How to start an [`Upgrader`]; what is not set has a default.
#[derive(Clone, Debug)]
pub struct Builder {
    tag: Which,
    connector: Connector,
    mode: Mode,
    timeout: Duration,
    patience: Duration,
    any_address: bool,
    program: Option<String>,
}

/// A tag, by number or by a name that the broker knows.
#[derive(Clone, Debug)]
enum Which {
    Number(Tag),
    Name(String),
}

impl Upgrader {
    /// Begins to build one, for a tag that is this program's own.
    pub fn builder(tag: Tag) -> Builder {
        Builder::new(Which::Number(tag))
    }

    /// [`Upgrader::builder`], for the tag that has this name in the broker's policy, or this number. The
    /// broker is asked for it by [`Builder::start`], which takes a right on the tag.
    pub fn named(tag: &str) -> Builder {
        Builder::new(tag.parse().map_or_else(|_| Which::Name(tag.to_owned()), Which::Number))
    }
}

impl Builder {
    fn new(tag: Which) -> Self {
        let connector = Connector::new();
        let minute = Duration::from_secs(60);
        let mode = Mode::Live;
        let (timeout, patience) = (minute, minute);
        Self { tag, connector, mode, timeout, patience, any_address: false, program: None }
    }

    /// How to connect to the broker. The default is [`Connector::new`].
    ///
    /// Its [`Connector::retry_for`] is how long each call waits for a broker that is being
    /// restarted. Where it sets no [`Connector::timeout`], answers have 10 seconds.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// How the predecessor is to give up the tag. The default is [`Mode::Live`]: it serves until
    /// this process is ready. [`Mode::Quiesced`]: it stops first, and releases what it has.
    /// [`Mode::Again`] takes the tag only if it belongs to nobody.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How long it may take from when the turn has come until [`Upgrader::ready`]. The default is a
    /// minute. Zero counts as 1 ms, and more than an hour as an hour.
    ///
    /// If there is no predecessor, or it dies, others may take over after that time what this
    /// process has not deposited.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), MAX_TIME);
        self
    }

    /// How long to wait until the turn has come: until earlier upgrades have ended, and the
    /// predecessor has released if it has to. The default is a minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST);
        self
    }

    /// Whether [`Upgrader::listen`] accepts an inherited socket of that name wherever it is bound.
    /// The default is no: if it is not bound to the address that is asked for, that is an error.
    pub fn any_address(mut self, any: bool) -> Self {
        self.any_address = any;
        self
    }

    /// The name of the program, for a tag that no other program may take over. The default is the name of the
    /// executable, without a version at the end: `shop` for `/opt/shop/bin/shop-1.2`.
    ///
    /// It is noted with what is deposited, and [`Builder::start`] takes nothing that another program has deposited. So two
    /// programs that have one tag by mistake do not take it from each other. Several services of one executable, each
    /// with a tag of its own, need names of their own for that.
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = Some(name.into());
        self
    }

    /// Claims the tag, waits until its turn has come, and fetches the deposits of the predecessor.
    ///
    /// # Errors
    /// [`UpgradeError::TimedOut`] if the turn did not come. [`UpgradeError::Broker`] if there is no
    /// broker, it does not serve claims, or its policy does not allow it; with [`Mode::Again`],
    /// also if another process owns the tag. [`UpgradeError::OtherProgram`] if the tag is another program's. Nothing has
    /// changed then.
    pub fn start(self) -> Result<Upgrader, UpgradeError> {
        self.begin()?.finish()
    }

    /// Claims the tag.
    pub(crate) fn begin(self) -> Result<Starting, UpgradeError> {
        let shared = Arc::new(self.claim()?);
        let watcher = watch::start(shared.clone()).map_err(UpgradeError::System)?;
        Ok(Starting { upgrader: Upgrader::new(shared, watcher), patience: self.patience })
    }

    fn claim(&self) -> Result<Shared, UpgradeError> {
        let terms = self.terms(self.find_tag()?);
        let Begun { broker, claimed, instance } = begin(&terms).map_err(UpgradeError::Broker)?;
        let state = State {
            instance,
            machine: StateMachine::new(terms.tag, terms.time, claimed.state),
            terms,
            inventory: Inventory::default(),
            snapshot: Snapshot::default(),
            link: Link::Up(Box::new(broker)),
            doubtful: false,
        };
        Shared::new(state).map_err(UpgradeError::System)
    }

    /// The tag, for which the broker is asked if it has a name.
    fn find_tag(&self) -> Result<Tag, UpgradeError> {
        let name = match &self.tag {
            Which::Number(tag) => return Ok(*tag),
            Which::Name(name) => name,
        };
        let connected = self.connector.clone().with_limit(ANSWER).connect();
        let found = connected.and_then(|mut broker| broker.find(name));
        match found.map_err(UpgradeError::Broker)? {
            Found::Tag(tag) => Ok(tag),
            Found::Slot(_) | Found::Resource(_) => Err(UpgradeError::NoTag { name: name.clone() }),
        }
    }

    fn terms(&self, tag: Tag) -> Terms {
        Terms {
            tag,
            mode: self.mode,
            time: self.timeout,
            any_address: self.any_address,
            program: Program::this(self.program.clone()),
            retry_for: self.connector.patience_limit().min(LONGEST),
            connector: self.connector.clone().without_repeating(ANSWER),
        }
    }
}

/// An upgrader that has claimed its tag, and waits for its turn. When it is dropped, the claim ends.
pub(crate) struct Starting {
    pub(crate) upgrader: Upgrader,
    patience: Duration,
}

impl Starting {
    /// Waits until the turn has come, and fetches the predecessor's deposits. It fails soon after
    /// [`Shared::give_up`].
    pub(crate) fn finish(self) -> Result<Upgrader, UpgradeError> {
        self.wait_for_turn()?;
        inherit(&self.upgrader.shared)?;
        Ok(self.upgrader)
    }

    fn wait_for_turn(&self) -> Result<(), UpgradeError> {
        let shared = &self.upgrader.shared;
        let end = Instant::now() + self.patience;
        let mut state = shared.lock();
        let tag = state.terms.tag;
        loop {
            state.machine.is_alive()?;
            match state.machine.stage() {
                Stage::Waiting if shared.is_given_up() => {
                    return Err(UpgradeError::Stopped { tag });
                }
                Stage::Waiting if Instant::now() >= end => {
                    let what = "the turn to take it over did not come";
                    return Err(UpgradeError::TimedOut { tag, what, after: self.patience });
                }
                Stage::Waiting => state = shared.wait(state, Some(end)),
                _ => return Ok(()),
            }
        }
    }
}

/// As good as for ever, and a time that can be added to any.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// How long an answer may take where the connector does not say.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection on which the tag was claimed.
struct Begun {
    broker: Broker,
    claimed: Claimed,
    instance: i64,
}

/// Claims the tag on a first connection, or on another if that is lost.
fn begin(terms: &Terms) -> Result<Begun, Error> {
    let mut backoff = Backoff::new(terms.retry_for);
    let connect = || terms.connector.clone().connect();
    let mut broker = connect()?;
    loop {
        let claimed = broker.claim_and_settle(terms.tag, terms.mode, terms.time);
        match claimed.and_then(|claimed| Ok((claimed, broker.instance()?))) {
            Ok((claimed, instance)) => return Ok(Begun { broker, claimed, instance }),
            Err(error) if is_passing(&error) && backoff.again() => {}
            Err(error) => return Err(error),
        }
        while let Err(error) = connect().map(|new| broker = new) {
            if !is_passing(&error) || !backoff.again() {
                return Err(error);
            }
        }
    }
}

/// Fails if another program has deposited something.
fn is_ours(terms: &Terms, inventory: &Inventory) -> Result<(), UpgradeError> {
    let Terms { tag, program: this, .. } = terms;
    let Some((program, name)) = inventory.programs().find(|(program, _)| this.is_another(program))
    else {
        return Ok(());
    };
    let (name, program) = (name.to_owned(), program.to_owned());
    let this = this.name().unwrap_or_default().to_owned();
    Err(UpgradeError::OtherProgram { tag: *tag, name, program, this })
}

fn inherit(shared: &Shared) -> Result<(), UpgradeError> {
    let state = shared.lock();
    let tag = state.terms.tag;
    let get = |broker: &mut Broker, _: &mut _| fetch(broker, tag);
    let (mut state, (fetched, snapshot)) = shared.ask(state, |machine| machine.is_alive(), get)?;
    let inventory = Inventory::of(fetched);
    is_ours(&state.terms, &inventory)?;
    state.inventory = inventory.noting(state.terms.program.name().map(Into::into));
    state.snapshot = snapshot;
    state.doubtful = false;
    Ok(())
}
