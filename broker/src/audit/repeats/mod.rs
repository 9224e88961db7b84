//! Refusals that repeat: the first few get records of their own, the others are counted, second by
//! second.
//!
//! Refusals are equal if user, unit, tag, right, rule and reason are. Neither the process nor the
//! slot within the tag matters: the count has the span of the slots. No user gets more than a set
//! number of records a second, counts included. Refusals beyond that are counted, and the count is
//! recorded. If there are more counts than that, the smallest become one for each kind and verdict.
//!
//! Bounded for each user: one user's requests never make another user's count come early or late.
//! No count is lost.

mod rates;
mod together;
mod user;
mod users;

pub(super) use rates::Rates;
pub(super) use users::Repeats;
