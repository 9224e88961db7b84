//! The policy as a real daemon applies it: to real users, in drop-ins, and while it changes.
//!
//! - [`drop_ins`]: more files of the policy
//! - [`main_job`]: a program gets what it could not open itself
//! - [`rates`]: the setting `requests_per_second`
//! - [`reload`]: a policy that changes while the broker runs
//! - [`users`]: every right on every kind of slot, as each user

mod drop_ins;
mod main_job;
mod rates;
mod reload;
mod users;
