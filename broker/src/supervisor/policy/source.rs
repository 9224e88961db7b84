//! The policy as it was read at start, with what its names meant then.

use std::path::{Path, PathBuf};

use fdbroker_host::{Lookup, PolicyFileError, SystemNames};
use fdbroker_policy::{Policy, SourceText, Uid};
use fdbroker_wire::{Account, KnownName, PolicyText, Setup};
use rustix::process::{getegid, geteuid};

use super::last_good::{Kept, LastGood};
use super::names::{FoundNames, Recorder};
use crate::arguments::{Arguments, DEFAULT_POLICY};
use crate::payer::Payers;
use crate::supervisor::policy_error::{NoPolicy, PolicyError, ReloadError};

/// A policy, and all that a worker needs to read the very same one.
#[derive(Clone)]
pub(crate) struct PolicySource {
    /// The file that the command line names.
    named: Option<PathBuf>,
    /// The file of subordinate ids that the command line names.
    subuid: Option<PathBuf>,
    /// Counted from the start of the broker.
    pub(crate) generation: u32,
    sees_units: bool,
    pub(crate) policy: Policy,
    /// Who pays for whom.
    pub(crate) payers: Payers,
    /// What is odd about that, for the log.
    pub(crate) odd: Vec<String>,
    /// The file and its drop-ins; none for the built-in policy.
    pub(crate) texts: Vec<PolicyText>,
    /// What its names mean.
    pub(crate) names: FoundNames,
    account: Option<Account>,
    instance: i64,
    /// Set if it is not what the files say now.
    pub(crate) older: Option<Older>,
}

/// An older policy that is in force since the files do not load.
#[derive(Clone)]
pub(crate) struct Older {
    /// When it was kept, and its hash.
    pub(crate) stamp: String,
    /// What was last found to be wrong with the files.
    pub(crate) reasons: Vec<String>,
}

impl Older {
    /// What the log says of it.
    pub(crate) fn said(&self) -> String {
        format!(
            "the policy does not load: the broker starts under the last good one, of {}; what the \
             new policy revokes is not revoked yet; correct the policy, the broker then takes it",
            self.stamp
        )
    }

    /// What the service manager is told of it.
    pub(crate) fn status(&self) -> String {
        format!(
            "degraded: the policy does not load; serving under the last good one, of {}",
            self.stamp
        )
    }
}

impl PolicySource {
    /// Whom the worker and its closers become.
    pub(crate) fn account(&self) -> Option<Account> {
        self.account
    }

    /// The number of this broker.
    pub(crate) fn instance(&self) -> i64 {
        self.instance
    }

    /// Takes the number of a broker that this one goes on as: clients find everything as it was.
    pub(crate) fn go_on_as(&mut self, instance: i64) {
        self.instance = instance;
    }

    /// Reads the policy that the command line names, the default one, or else the built-in one. One that does not
    /// load is replaced by the last good one.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read(
        arguments: &Arguments,
        last: Option<&LastGood>,
        system: &dyn Lookup,
    ) -> Result<Self, NoPolicy> {
        match read(arguments.policy.as_deref(), &[], system) {
            Ok(parts) => Ok(Self::new(arguments, parts, None, system)),
            Err(error) => {
                let (parts, older) = fall_back(error, last, system)?;
                Ok(Self::new(arguments, parts, Some(older), system))
            }
        }
    }

    fn new(
        arguments: &Arguments,
        parts: WithAccount,
        older: Option<Older>,
        system: &dyn Lookup,
    ) -> Self {
        let (policy, texts, names, account) = parts;
        let subuid = arguments.subuid.clone();
        let (payers, odd) = Payers::read(subuid.as_deref(), None, system);
        Self {
            named: arguments.policy.clone(),
            subuid,
            generation: 0,
            sees_units: fdbroker_host::sees_units(),
            policy,
            payers,
            odd,
            texts,
            names,
            account,
            instance: instance(),
            older,
        }
    }

    /// The policy file.
    pub(crate) fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new(DEFAULT_POLICY))
    }

    /// Whether its files do not say any more what was read of them.
    pub(crate) fn has_changed(&self) -> bool {
        match sources_of(self.path()) {
            Ok(sources) => {
                let read = sources.iter().map(|source| (&source.path, &source.text));
                !read.eq(self.texts.iter().map(|text| (&text.path, &text.text)))
            }
            Err(_) => !self.texts.is_empty(),
        }
    }

    /// Reads it again, from the same place.
    ///
    /// # Errors
    /// When it is not valid; when its files have gone; or when it takes a restart.
    pub(crate) fn read_again(&self) -> Result<Self, ReloadError> {
        let system = SystemNames::default();
        let (policy, texts, names, account) =
            read(self.named.as_deref(), &self.names.known, &system)?;
        if texts.is_empty() && !self.texts.is_empty() {
            return Err(ReloadError::Gone(DEFAULT_POLICY.into()));
        }
        if account != self.account {
            return Err(ReloadError::AccountChanges);
        }
        let (payers, odd) = Payers::read(self.subuid.as_deref(), Some(&self.payers), &system);
        let (named, subuid) = (self.named.clone(), self.subuid.clone());
        let generation = self.generation.wrapping_add(1);
        let older = None;
        Ok(Self { named, subuid, generation, policy, payers, odd, texts, names, older, ..*self })
    }

    /// Reads the same texts again, since some of their names may be known now; `None` if none is. This can block.
    ///
    /// # Errors
    /// When they do not load any more: a name that is denied something belongs to nobody.
    pub(crate) fn with_names_again(&self) -> Result<Option<Self>, ReloadError> {
        let system = SystemNames::default();
        if !self.names.have_changed(&system) {
            return Ok(None);
        }
        let texts = self.texts.iter().map(|file| SourceText::new(&*file.path, &*file.text));
        let names = Recorder::after(&self.names.known, &system);
        let names = if self.older.is_some() { names.forgiving() } else { names };
        let (policy, texts, names) = from_sources(texts.collect(), names)?;
        let generation = self.generation.wrapping_add(1);
        Ok(Some(Self { generation, policy, texts, names, odd: Vec::new(), ..self.clone() }))
    }

    /// The built-in policy.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        let policy = fdbroker_policy::built_in(owner());
        Self {
            named: None,
            subuid: None,
            generation: 0,
            sees_units: true,
            policy,
            payers: Payers::default(),
            odd: Vec::new(),
            texts: Vec::new(),
            names: FoundNames::default(),
            account: None,
            instance: instance(),
            older: None,
        }
    }

    /// What the worker is told.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            instance: self.instance,
            generation: self.generation,
            sees_units: self.sees_units,
            owner: owner().0,
            account: self.account,
            policy: self.texts.clone(),
            names: self.names.known.clone(),
            subordinates: self.payers.to_tell(),
        }
    }
}

type Parts = (Policy, Vec<PolicyText>, FoundNames);
type WithAccount = (Policy, Vec<PolicyText>, FoundNames, Option<Account>);

/// Reads a policy file, or the default one, or else takes the built-in policy. `before` is what names meant before.
fn read(
    named: Option<&Path>,
    before: &[KnownName],
    system: &dyn Lookup,
) -> Result<WithAccount, PolicyError> {
    let (policy, texts, names) = match named {
        Some(path) => from_file(path, before, system)?,
        None => match from_file(Path::new(DEFAULT_POLICY), before, system) {
            Err(PolicyError::File(PolicyFileError::NotFound(_))) => {
                (fdbroker_policy::built_in(owner()), Vec::new(), FoundNames::default())
            }
            read => read?,
        },
    };
    with_account((policy, texts, names), system)
}

/// The last good policy, and why it is needed. A policy file that has gone is no mistake in it, but somebody's decision.
fn fall_back(
    error: PolicyError,
    last: Option<&LastGood>,
    system: &dyn Lookup,
) -> Result<(WithAccount, Older), NoPolicy> {
    let is_gone = matches!(&error, PolicyError::File(PolicyFileError::NotFound(_)));
    let Some(last) = last.filter(|_| !is_gone) else { return Err(error.into()) };
    let fails = |error, reason| NoPolicy { error, last: Some((last.path().to_owned(), reason)) };
    let Kept { stamp, sources, .. } = match last.read() {
        Ok(Some(kept)) => kept,
        Ok(None) => return Err(error.into()),
        Err(reason) => return Err(fails(error, reason)),
    };
    let names = Recorder::after(&[], system).forgiving();
    match from_sources(sources, names).and_then(|parts| with_account(parts, system)) {
        Ok(parts) => Ok((parts, Older { stamp, reasons: error.lines() })),
        Err(reason) => Err(fails(error, format!("it does not load either: {reason}"))),
    }
}

/// With the account that root's worker needs.
fn with_account(
    (policy, texts, names): Parts,
    system: &dyn Lookup,
) -> Result<WithAccount, PolicyError> {
    let account = if geteuid().is_root() { Some(worker_account(&policy, system)?) } else { None };
    Ok((policy, texts, names, account))
}

fn from_file(path: &Path, before: &[KnownName], system: &dyn Lookup) -> Result<Parts, PolicyError> {
    let sources = sources_of(path).map_err(PolicyError::File)?;
    from_sources(sources, Recorder::after(before, system))
}

/// The texts of a policy file and its drop-ins.
fn sources_of(path: &Path) -> Result<Vec<SourceText>, PolicyFileError> {
    fdbroker_host::read_policy(path, &[Uid(0), owner()])
}

fn from_sources(sources: Vec<SourceText>, names: Recorder<'_>) -> Result<Parts, PolicyError> {
    let policy = fdbroker_policy::load(&sources, &names)
        .map_err(|findings| PolicyError::File(PolicyFileError::Findings(findings)))?;
    let texts =
        sources.into_iter().map(|source| PolicyText { path: source.path, text: source.text });
    Ok((policy, texts.collect(), names.into_found()))
}

fn owner() -> Uid {
    Uid(geteuid().as_raw())
}

/// Whom the worker becomes; root is no answer.
fn worker_account(policy: &Policy, system: &dyn Lookup) -> Result<Account, PolicyError> {
    let found = fdbroker_host::account_by(&policy.settings().user, system);
    let found = found.map_err(PolicyError::Account)?;
    if found.uid.0 == 0 || found.gid.0 == getegid().as_raw() {
        return Err(PolicyError::WorkerIsRoot);
    }
    Ok(Account { uid: found.uid.0, gid: found.gid.0 })
}

/// A number that no other start of a broker has, as far as 63 random bits go.
fn instance() -> i64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => i64::from_ne_bytes(bytes) & i64::MAX,
        Err(_) => jiff::Timestamp::now().as_microsecond(),
    }
}
