//! What `check` says of the passwords, keys, certificates and programs that a policy names: whether they are there, kept
//! from others, and what they should be.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use fdbroker_host::{
    CredentialFault, certificate_fault, credential_fault, open_credential, program_fault,
};
use fdbroker_policy::{Auth, ConnectSource, Credential, Policy, Source, Uid};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::notes::note;

/// The most that is read of a file.
const MOST: u64 = 1 << 20;

/// What is wrong with a file for its owner.
type Fault = fn(&Metadata, Uid) -> Option<CredentialFault>;

/// What a file should hold.
#[derive(Clone, Copy)]
enum Content {
    Password,
    Key,
    Certificates,
}

/// Where the service manager has the credentials of the broker's unit while it runs: systemd.exec(5).
const OF_THE_UNIT: &str = "/run/credentials/fdbrokerd.service";

/// Prints a note for each file that the broker would not use, if this user runs it.
///
/// A credential of the service manager is looked for while the broker's unit runs and has any: at other times there is
/// none to be found.
pub(crate) fn note_faults(shown: &str, policy: &Policy) {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
    let directory = directory.map_or_else(|| OF_THE_UNIT.into(), PathBuf::from);
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        for (path, content) in files(connect) {
            if let Some(problem) = problem(path, content) {
                note(shown, resource, format_args!("{}: {problem}", quoted(path)));
            }
        }
        for (name, content) in named(connect) {
            if let Some(problem) = named_problem(&directory, name, content) {
                note(shown, resource, format_args!("credential:{name}: {problem}"));
            }
        }
        if let Some(problem) = program_problem(connect) {
            note(shown, resource, problem);
        }
    }
}

/// The names of the credentials that the service manager is to bring.
fn named(connect: &ConnectSource) -> impl Iterator<Item = (&str, Content)> {
    let key = connect.tls.as_deref().and_then(|tls| Some(&tls.client.as_ref()?.key));
    let key = key.map(|key| (key, Content::Key));
    let password = connect.password().map(|password| (password, Content::Password));
    password.into_iter().chain(key).filter_map(|(credential, content)| match credential {
        Credential::Named(name) => Some((name.as_str(), content)),
        Credential::File(_) => None,
    })
}

/// What is wrong with a credential that the unit is to have.
fn named_problem(directory: &Path, name: &str, content: Content) -> Option<String> {
    // Without the directory the unit has none, or does not run; or this user may not know.
    directory.read_dir().ok()?;
    let path = directory.join(name);
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(format!(
            "the broker's unit has no such credential; add LoadCredential={name}:PATH to the unit, \
             and restart it"
        )),
        _ => problem(path.to_str()?, content),
    }
}

/// What is wrong with the program that logs in, if one does.
fn program_problem(connect: &ConnectSource) -> Option<String> {
    let Some(Auth::Program(auth)) = &connect.auth else { return None };
    let fault = program_fault(Path::new(auth.path()), Uid(geteuid().as_raw()))?;
    Some(format!("the program is not started: {fault}"))
}

fn files(connect: &ConnectSource) -> Vec<(&str, Content)> {
    let password = connect.password().and_then(path).map(|path| (path, Content::Password));
    let tls = connect.tls.as_deref();
    let key = tls.and_then(|tls| path(&tls.client.as_ref()?.key)).map(|path| (path, Content::Key));
    let certificates = tls.into_iter().flat_map(|tls| tls.files());
    let certificates = certificates.map(|path| (path, Content::Certificates));
    password.into_iter().chain(key).chain(certificates).collect()
}

fn path(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::File(path) => Some(path),
        Credential::Named(_) => None,
    }
}

/// What is wrong with a file, as far as this user can tell.
fn problem(path: &str, content: Content) -> Option<String> {
    let file = match open_credential(path) {
        Ok(file) => file,
        // The broker may be another user's.
        Err(Errno::ACCESS) => return None,
        Err(error) => return Some(format!("it cannot be opened: {error}")),
    };
    let metadata = file.metadata().ok()?;
    let fault: Fault = match content {
        Content::Password | Content::Key => credential_fault,
        Content::Certificates => certificate_fault,
    };
    match (fault(&metadata, Uid(geteuid().as_raw())), content) {
        (Some(fault), _) => Some(fault.to_string()),
        (None, content) => content.is_missing_in(&read(file, &metadata)?).map(str::to_owned),
    }
}

/// Returns the text of a file; `None` if it cannot be read.
fn read(file: File, metadata: &Metadata) -> Option<Zeroizing<Vec<u8>>> {
    // As large as it has to be: what a vector leaves behind when it grows is not wiped.
    let size = usize::try_from(metadata.len().min(MOST)).ok()?;
    let mut text = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MOST).read_to_end(&mut text).ok()?;
    Some(text)
}

impl Content {
    /// Returns what is to be said of a file without it, going by the headings of PEM.
    fn is_missing_in(self, text: &[u8]) -> Option<&'static str> {
        let has = |part: &str| text.windows(part.len()).any(|found| found == part.as_bytes());
        match self {
            Self::Password if matches!(text, b"" | b"\n" | b"\r\n") => {
                Some("it is empty; write the password into it")
            }
            Self::Password if is_blank_at_an_end(text) => Some(
                "the password begins or ends with a space or a newline, or has several lines: all but one newline \
                 at the end of the file is part of it; write it with printf %s, if that is not meant",
            ),
            Self::Certificates if !has("-----BEGIN CERTIFICATE-----") => {
                Some("it holds no certificate in PEM")
            }
            Self::Key if !has(" PRIVATE KEY-----") && !has("BEGIN PRIVATE KEY-----") => {
                Some("it holds no private key in PEM")
            }
            Self::Key if has("BEGIN ENCRYPTED") || has("Proc-Type: 4,ENCRYPTED") => {
                Some("its private key has a passphrase: the broker takes one without")
            }
            _ => None,
        }
    }
}

/// Whether a password has a blank at an end, or a line break; the newline that ends the file is no part of it.
fn is_blank_at_an_end(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    text.trim_ascii() != text || text.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_credential_is_missed_where_the_unit_has_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        let said = |name| named_problem(directory.path(), name, Content::Password);
        assert_eq!(said("orders"), None);
        assert!(said("stock").is_some_and(|said| said.contains("LoadCredential=stock:PATH")));
        let none = directory.path().join("none");
        assert_eq!(named_problem(&none, "stock", Content::Password), None);
    }

    #[test]
    fn a_credential_of_the_unit_is_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders");
        std::fs::write(&path, "x\n\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let said = named_problem(directory.path(), "orders", Content::Password).unwrap();
        assert!(said.contains("part of it"), "{said}");
    }

    #[test]
    fn a_file_is_known_by_its_headings() {
        let said = |content: Content, text: &str| content.is_missing_in(text.as_bytes());
        assert_eq!(said(Content::Password, "x"), None);
        for empty in ["", "\n", "\r\n"] {
            assert!(said(Content::Password, empty).is_some_and(|said| said.contains("empty")));
        }
        for plain in ["x\n", "x\r\n", "two words"] {
            assert_eq!(said(Content::Password, plain), None, "{plain:?}");
        }
        for blank in ["x\n\n", "x ", "x \n", " x", "x\ty\t\n", "x\ny", "\n\n"] {
            let said = said(Content::Password, blank);
            assert!(said.is_some_and(|said| said.contains("part of it")), "{blank:?}");
        }
        assert_eq!(said(Content::Certificates, "-----BEGIN CERTIFICATE-----\nx"), None);
        assert!(said(Content::Certificates, "").is_some());
        for good in ["-----BEGIN PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----"] {
            assert_eq!(said(Content::Key, good), None);
        }
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
        assert!(said(Content::Key, encrypted).is_some_and(|said| said.contains("passphrase")));
        assert!(said(Content::Key, "-----BEGIN CERTIFICATE-----").is_some());
    }
}
