//! What a worker is to work with: who it becomes, and the policy.

use crate::fields::{Body, Fields};

/// Everything that a worker needs to begin; what it reads is as the supervisor read it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Setup {
    /// A number that differs between any two starts of the broker.
    pub instance: i64,
    /// Which policy this is: counted from the start of the broker.
    pub generation: u32,
    /// Whether control groups are seen from where the service manager sees them.
    pub sees_units: bool,
    /// The user id that started the broker: whom the built-in policy allows.
    pub owner: u32,
    /// The account to become; `None` if the broker was not started by root.
    pub account: Option<Account>,
    /// The policy file and its drop-ins; none stands for the built-in policy.
    pub policy: Vec<PolicyText>,
    /// Every name of the policy as the supervisor looked it up, but for those that nobody has. So the worker reads the
    /// same policy even if an account has gone since.
    pub names: Vec<KnownName>,
    /// User ids that count as another user, in order; no id is in two ranges.
    pub subordinates: Vec<Subordinates>,
}

/// A range of user ids that count as one user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subordinates {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// The user that they count as.
    pub user: u32,
}

/// The account that the worker runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its primary group id; it gets no other.
    pub gid: u32,
}

/// As chown(1) has it: the user's number, a colon, the group's.
impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Account {
    /// Returns the account that its text names, or `None`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':')?;
        Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }
}

/// A policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyText {
    /// Where it came from, for messages.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A name that was looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownName {
    /// Whose name it is.
    pub kind: NameKind,
    /// The name.
    pub name: String,
    /// Its number; `None` if it could not be looked up.
    pub id: Option<u32>,
}

/// What a name names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NameKind {
    /// A user.
    User,
    /// A group.
    Group,
}

/// In front of a name: it is one of a group.
const GROUP: u32 = 1;
/// In front of a name: it could not be looked up.
const UNKNOWN: u32 = 2;

impl Body {
    pub(super) fn setup(&mut self, setup: &Setup) {
        self.i64(setup.instance)
            .u32(setup.generation)
            .u32(u32::from(setup.sees_units))
            .u32(setup.owner)
            .u32(u32::from(setup.account.is_some()));
        let account = setup.account.unwrap_or(Account { uid: 0, gid: 0 });
        self.u32(account.uid)
            .u32(account.gid)
            .u32(u32::try_from(setup.policy.len()).unwrap_or(u32::MAX));
        for policy in &setup.policy {
            self.string(&policy.path).string(&policy.text);
        }
        self.u32(u32::try_from(setup.subordinates.len()).unwrap_or(u32::MAX));
        for Subordinates { first, last, user } in &setup.subordinates {
            self.u32(*first).u32(*last).u32(*user);
        }
        for known in &setup.names {
            let kind = u32::from(known.kind == NameKind::Group) * GROUP;
            let unknown = u32::from(known.id.is_none()) * UNKNOWN;
            self.u32(kind | unknown).u32(known.id.unwrap_or_default()).string(&known.name);
        }
    }
}

impl Fields<'_> {
    pub(super) fn setup(&mut self) -> Option<Setup> {
        let (instance, generation) = (self.i64()?, self.u32()?);
        let (sees_units, owner) = (self.u32()? != 0, self.u32()?);
        let drops = self.u32()? != 0;
        let account = Account { uid: self.u32()?, gid: self.u32()? };
        let mut policy = Vec::new();
        for _ in 0..self.u32()? {
            policy.push(PolicyText { path: self.string()?, text: self.string()? });
        }
        let mut subordinates = Vec::new();
        for _ in 0..self.u32()? {
            let (first, last, user) = (self.u32()?, self.u32()?, self.u32()?);
            subordinates.push(Subordinates { first, last, user });
        }
        let mut names = Vec::new();
        while !self.0.is_empty() {
            names.push(self.known_name()?);
        }
        Some(Setup {
            instance,
            generation,
            sees_units,
            owner,
            account: drops.then_some(account),
            policy,
            names,
            subordinates,
        })
    }

    fn known_name(&mut self) -> Option<KnownName> {
        let bits = self.u32()?;
        let kind = if bits & GROUP == 0 { NameKind::User } else { NameKind::Group };
        let id = Some(self.u32()?).filter(|_| bits & UNKNOWN == 0);
        Some(KnownName { kind, id, name: self.string()? })
    }
}
