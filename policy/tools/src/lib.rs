//! What the command tells of a policy; the daemon does without it.
//!
//! [`explain()`] says why a peer may do something or not, and [`grants()`] who else may. [`diff()`]
//! says which rights change when one policy takes the place of another, and [`SettingsDiff`] what
//! else does. All of them decide by [`Policy::outcome`](fdbroker_policy::Policy::outcome), as the
//! daemon does.
//!
//! This crate makes no system call. The author of a policy cannot keep a caller waiting: each
//! question has a budget of steps, and the answer says so if that is spent.
#![forbid(unsafe_code)]

mod budget;
mod diff;
mod example;
mod explain;
#[cfg(test)]
mod fixture;
mod glob_intersection;
mod grants;
mod scope;
mod settings_diff;
mod subjects;

pub use diff::{Change, Differences, Unless, diff};
pub use explain::{Considered, Effect, Explanation, Reason, explain};
pub use grants::{Exception, Grant, grants};
pub use scope::Scope;
pub use settings_diff::{Alteration, Altered, Field, SettingsDiff, TimedRules};
pub use subjects::Subjects;
