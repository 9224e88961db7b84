//! What `check` says of the passwords, keys, certificates and programs that a policy names: whether they are there,
//! and kept from others.

use std::path::Path;

use fdbroker_host::{
    CredentialFault, certificate_fault, credential_fault, open_credential, program_fault,
};
use fdbroker_policy::{Auth, ConnectSource, Credential, Policy, Source, Tls, Uid};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::terminal;

/// What is wrong with a file for its owner.
type Fault = fn(&std::fs::Metadata, Uid) -> Option<CredentialFault>;

/// Prints a note for each file that the broker would not use, if this user runs it.
///
/// A credential of the service manager is there only while the unit runs, so nothing is said of one.
pub(crate) fn note_faults(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        for (path, fault) in files(connect) {
            if let Some(problem) = problem(path, fault) {
                terminal::complain(format_args!(
                    "{shown}: note: resource {}: {}: {problem}",
                    quoted(&resource.name),
                    quoted(path)
                ));
            }
        }
        if let Some(problem) = program_problem(connect) {
            terminal::complain(format_args!(
                "{shown}: note: resource {}: {problem}",
                quoted(&resource.name)
            ));
        }
    }
}

/// What is wrong with the program that logs in, if one does.
fn program_problem(connect: &ConnectSource) -> Option<String> {
    let Some(Auth::Program(auth)) = &connect.auth else { return None };
    let fault = program_fault(Path::new(auth.path()), Uid(geteuid().as_raw()))?;
    Some(format!("the program is not started: {fault}"))
}

fn files(connect: &ConnectSource) -> impl Iterator<Item = (&str, Fault)> {
    let secrets = connect.credentials().filter_map(path);
    let certificates = connect.tls.as_deref().into_iter().flat_map(Tls::files);
    let secrets = secrets.map(|path| (path, credential_fault as Fault));
    secrets.chain(certificates.map(|path| (path, certificate_fault as Fault)))
}

fn path(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::File(path) => Some(path),
        Credential::Named(_) => None,
    }
}

/// What is wrong with a file, as far as this user can tell.
fn problem(path: &str, fault: Fault) -> Option<String> {
    let file = match open_credential(path) {
        Ok(file) => file,
        // The broker may be another user's.
        Err(Errno::ACCESS) => return None,
        Err(error) => return Some(format!("it cannot be opened: {error}")),
    };
    let metadata = file.metadata().ok()?;
    fault(&metadata, Uid(geteuid().as_raw())).map(|fault| fault.to_string())
}
