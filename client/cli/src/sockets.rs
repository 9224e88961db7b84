//! What `check` says of the Unix sockets of servers: where others could put one that is sent the password.

use std::path::Path;

use fdbroker_host::server_socket;
use fdbroker_policy::{Policy, ServerAddress, Source, Uid};
use fdbroker_types::quoted;
use rustix::process::geteuid;

use crate::notes::note;

/// Prints a note for each socket that is sent a password and that another user could have made.
pub(crate) fn note_open_directories(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        if connect.password().is_none() {
            continue;
        }
        for address in &connect.addresses {
            let ServerAddress::Unix(path) = address else { continue };
            let own = Uid(geteuid().as_raw());
            if let Err(fault) = server_socket(Path::new(path), own) {
                note(shown, resource, format_args!("{}: {fault}", quoted(path)));
            }
        }
    }
}
