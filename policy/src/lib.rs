//! The policy language of fdbroker: text in, verdict out.
//!
//! [`load()`] reads the texts of a policy's files and either gives a [`Policy`] or everything that is wrong with them,
//! as [`Findings`]. [`Policy::decide`] then says what a [`Peer`] may do,
//! [`Policy::explain`] why, and [`Policy::who`] who else may; [`diff()`]
//! compares two policies. [`built_in()`] is the policy that holds
//! where there is no file.
//!
//! This crate makes no system call and opens no file. What it must know of the machine, the numbers of users and
//! groups, it asks of a [`Names`] that the caller brings. It trusts nobody with the text: every text either loads
//! or is refused, none makes it panic.
#![forbid(unsafe_code)]

mod accept;
mod alteration;
mod budget;
mod built_in;
mod capability;
mod conditions;
mod coverage;
mod diff;
mod excerpt;
mod explanation;
mod extent;
mod finding;
mod glob;
mod holder;
mod identity;
mod load;
mod moment;
mod names;
mod overlap;
mod pattern;
mod policy;
mod ranges;
mod reach;
mod resource;
mod rights;
mod rule;
mod settings;
mod someone;
mod tag_settings;
mod target;
mod unit;
mod verdict;
mod witness;

pub use accept::Accept;
pub use alteration::{Alteration, Alterations, Altered, Field, TimedRules};
pub use built_in::{BUILT_IN_RULE, built_in};
pub use conditions::Conditions;
pub use diff::{Change, Differences, Unless, diff};
pub use explanation::{Considered, Effect, Explanation, Reason};
pub use extent::Extent;
pub use fdbroker_types::{
    Index, Kind, Right, Slot, Tag, UnknownKind, UnknownRight, escape, is_harmful,
};
pub use finding::{Finding, Findings};
pub use holder::{Exception, Holder};
pub use identity::{Gid, LONGEST_CGROUP, Peer, Uid};
pub use load::{SourceText, load, load_untested};
pub use moment::{Moment, NotAMoment, Validity};
pub use names::{LookupError, Names};
pub use policy::Policy;
pub use resource::{Access, DeviceNumber, Opening, PathSource, Resource, ResourceIndex, Source};
pub use settings::{Account, Audit, Rates, Settings};
pub use someone::Someone;
pub use tag_settings::TagSettings;
pub use target::Target;
pub use unit::unit_of_cgroup;
pub use verdict::Verdict;
