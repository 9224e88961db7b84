//! What `check` says of the passwords that a policy names: whether they are there, and kept from others.

use fdbroker_host::{credential_fault, open_credential};
use fdbroker_policy::{Credential, Policy, Source, Uid};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::terminal;

/// Prints a note for each credential that the broker would not use, if this user runs it.
///
/// A credential of the service manager is there only while the unit runs, so nothing is said of one.
pub(crate) fn note_faults(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        for path in connect.credentials().filter_map(path) {
            if let Some(problem) = problem(path) {
                terminal::complain(format_args!(
                    "{shown}: note: resource {}: {}: {problem}",
                    quoted(&resource.name),
                    quoted(path)
                ));
            }
        }
    }
}

fn path(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::File(path) => Some(path),
        Credential::Named(_) => None,
    }
}

/// What is wrong with a credential, as far as this user can tell.
fn problem(path: &str) -> Option<String> {
    let file = match open_credential(path) {
        Ok(file) => file,
        // The broker may be another user's.
        Err(Errno::ACCESS) => return None,
        Err(error) => return Some(format!("it cannot be opened: {error}")),
    };
    let metadata = file.metadata().ok()?;
    credential_fault(&metadata, Uid(geteuid().as_raw())).map(|fault| fault.to_string())
}
