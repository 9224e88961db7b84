//! What hostile peers and hostile descriptors do: the attack is refused or bounded, and nobody else
//! notices.
//!
//! - [`client`]: a broker of somebody else's, and callers of a privileged program, against a client
//! - [`floods`]: a user who connects faster than the broker accepts
//! - [`hidden`]: descriptors that are nobody's deposit
//! - [`identity`]: peers that pretend to be somebody else
//! - [`kinds`]: descriptors that are more than they seem
//! - [`many_groups`]: a process in very many supplementary groups
//! - [`opening`]: something else at a resource's path
//! - [`protocol`]: bytes that no client sends
//! - [`recycled_pid`]: a process id that is used again
//! - [`resources`]: one user that takes all that it can get
//! - [`rights`]: peers that try what they have no right to
//! - [`sandbox`]: a worker that was taken over
//! - [`sandbox_calls`]: the worker's system calls, beside the list of its filter
//! - [`subordinate`]: one person with many user ids
//! - [`supervisor_calls`]: the supervisor's system calls, from inside its filter
//! - [`table`]: a full descriptor table

mod client;
mod floods;
mod hidden;
mod identity;
mod kinds;
mod many_groups;
mod opening;
mod protocol;
mod recycled_pid;
mod resources;
mod rights;
mod sandbox;
mod sandbox_calls;
mod subordinate;
mod supervisor_calls;
mod table;
