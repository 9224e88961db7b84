//! What `check` notes of a policy that loads: what it names on this machine and would not work.

use std::fmt;
use std::path::Path;

use fdbroker_policy::{Durability, Policy, Resource, ServerAddress, Source};
use fdbroker_types::quoted;

use crate::terminal;

/// Directories of which a unit with `PrivateTmp=` has its own.
const PRIVATE: [&str; 2] = ["/tmp/", "/var/tmp/"];

/// Prints a note about a resource.
pub(crate) fn note(shown: &str, resource: &Resource, problem: impl fmt::Display) {
    terminal::complain(format_args!(
        "{shown}: note: resource {}: {problem}",
        quoted(&resource.name)
    ));
}

/// Where systemd runs, see sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

/// Prints a note for each tag that refuses all deposits here.
pub(crate) fn note_strict_tags(shown: &str, policy: &Policy) {
    if Path::new(BOOTED).exists() {
        return;
    }
    for tag in policy.tags().filter(|tag| tag.durability == Durability::Strict) {
        terminal::complain(format_args!(
            "{shown}: note: tag {}: no systemd runs here, which would keep its deposits: each one \
             is refused (`durability = \"strict\"`)",
            quoted(&tag.name)
        ));
    }
}

/// Prints a note for each Unix socket that the broker's unit does not see.
pub(crate) fn note_private_sockets(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        for address in &connect.addresses {
            let ServerAddress::Unix(path) = address else { continue };
            if PRIVATE.iter().any(|directory| path.starts_with(directory)) {
                note(
                    shown,
                    resource,
                    format_args!(
                        "{}: the broker's unit does not see it: it has a directory of its own there \
                         (PrivateTmp=); move the socket below /run",
                        quoted(path)
                    ),
                );
            }
        }
    }
}
