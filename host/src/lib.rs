//! What a policy needs from the machine that it is to hold on.
//!
//! The policy crate makes no system call. This one looks up the users and groups that a policy
//! names ([`SystemNames`]), and the account that the worker runs as ([`account()`]). It reads the
//! policy file and its drop-ins, if nobody but the administrator and the broker's own user could
//! have written them ([`load_policy`]). It looks whether a file is fit to hold a secret ([`credential_fault`]), whether
//! others could exchange a program ([`program_fault`]) or the socket of a server ([`server_socket()`]), and which user ids belong to another user ([`subordinate_ids`]).
//! It reads and replaces a file that nobody else may use ([`read_private_file`]), and such a note of a reload
//! ([`ReloadNote`]).
//!
//! It also reads what the kernel says of a living process ([`Process`]), and which unit that is
//! ([`unit_of_cgroup()`]), and whether memory can reach swap ([`can_be_swapped`]).
//!
//! It trusts the kernel and the name service. It runs in the supervisor, so it follows nothing that
//! a peer says.
#![forbid(unsafe_code)]

mod account;
mod acl;
mod credential;
mod error;
mod kinship;
mod names;
mod namespace;
mod policy_file;
mod private_file;
mod process;
mod program;
mod reload_note;
mod server_socket;
mod stamp;
mod subordinate;
mod swap;
mod writers;

pub use account::{AccountError, Identity, account, account_by};
pub use acl::{AclEntry, read_acl, write_acl};
pub use credential::{CredentialFault, certificate_fault, credential_fault, open_credential};
pub use error::PolicyFileError;
pub use fdbroker_policy::unit_of_cgroup;
pub use kinship::{Standing, has_same_user_ids};
pub use names::{
    Answer, BoundedNames, Entry, Lookup, NameService, OnThreads, Question, SystemNames,
    ask_name_service,
};
pub use namespace::sees_units;
pub use policy_file::{MAX_POLICY_BYTES, load_policy, policy_files, read_policy};
pub use private_file::{
    PrivateFileError, read_private_file, remove_private_file, write_private_file,
};
pub use process::{
    MAX_GROUPS, Process, ProcessError, cgroup_of, has_exited, is_alive, name_of, program_of,
};
pub use program::{ProgramFault, program_fault};
pub use reload_note::ReloadNote;
pub use server_socket::{ServerSocket, SocketFault, server_socket};
pub use stamp::Stamp;
pub use subordinate::{
    CountedRange, SUBUID, SubordinateError, SubordinateIds, subordinate_ids,
    unknown_subordinate_ids,
};
pub use swap::can_be_swapped;
