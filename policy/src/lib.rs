//! The policy language of fdbroker: text in, verdict out.
//!
//! [`load()`] reads the texts of a policy's files. It returns a [`Policy`], or everything that is
//! wrong with them as [`Findings`]. [`Policy::outcome`] then says what a [`Peer`] may do.
//! [`built_in()`] is the policy that holds where there is no file. The crate
//! `fdbroker-policy-tools` tells why, who else may, and how two policies differ.
//!
//! This crate makes no system call and opens no file. What it must know of the machine, the numbers
//! of users and groups, it asks of a [`Names`] that the caller brings. It trusts nobody with the
//! text: every text either loads or is refused, none makes it panic.
#![forbid(unsafe_code)]

mod accept;
mod built_in;
mod capability;
mod conditions;
mod excerpt;
mod finding;
#[cfg(test)]
mod fixture;
mod glob;
mod identity;
mod index;
mod interval_tree;
mod load;
mod moment;
mod names;
mod pattern;
mod policy;
mod reachability;
mod resource;
mod rights;
mod rule;
mod secret;
mod settings;
mod tag_settings;
mod target;
mod unit;
mod verdict;

/// What rules consist of, for tools that look at all of them.
pub mod rules {
    pub use crate::glob::{Glob, Piece, Star};
    pub use crate::pattern::Pattern;
    pub use crate::rights::Rights;
    pub use crate::rule::{Rule, Who, any_matches};
}

pub use accept::Accept;
pub use built_in::{BUILT_IN_RULE, built_in};
pub use capability::ALWAYS_KEPT;
pub use conditions::Conditions;
pub use fdbroker_types::{
    Index, Kind, Right, Slot, Tag, UnknownKind, UnknownRight, escape, is_harmful,
};
pub use finding::{Finding, Findings};
pub use identity::{Gid, LONGEST_CGROUP, Peer, Uid};
pub use load::{SourceText, load, load_untested};
pub use moment::{Moment, NotAMoment, Validity};
pub use names::{LookupError, Names};
pub use policy::Policy;
pub use resource::{
    Access, Auth, BadScriptStep, ClientCertificate, ConnectSource, Credential, DeviceNumber,
    ImapAuth, LeaseTerms, MysqlAuth, MysqlMethod, Opening, PathSource, PostgresAuth,
    PostgresMethod, ProgramAuth, ProxyAuth, ProxyTarget, Ready, RedisAuth, Resource, ResourceIndex,
    ScriptAuth, ScriptFill, ScriptPart, ScriptStep, ScriptText, ServerAddress, SmtpAuth, Source,
    Tls, TlsMode, TlsStart,
};
pub use settings::{Account, Audit, Rates, Settings};
pub use tag_settings::{Durability, TagSettings};
pub use target::Target;
pub use unit::unit_of_cgroup;
pub use verdict::Verdict;
