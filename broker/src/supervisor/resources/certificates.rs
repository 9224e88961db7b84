//! Files of certificates: whether one is kept well, and how a helper gets it.

use std::os::fd::OwnedFd;

use fdbroker_host::{Stamp, certificate_fault, open_credential};
use fdbroker_policy::Uid;
use fdbroker_types::quoted;
use rustix::process::geteuid;

use super::credential::not_opened;
use super::sealed::{read_all, sealed};
use crate::helper::handed::MAX_CERTIFICATES;

/// Reads the certificates of a file into memory for a helper. Nothing of them is looked at here.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub(super) fn in_memory(path: &str) -> Result<OwnedFd, String> {
    let failed = |what: String| format!("{}: {what}", quoted(path));
    let file = open_credential(path).map_err(|error| failed(not_opened(error)))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if let Some(fault) = certificate_fault(&metadata, Uid(geteuid().as_raw())) {
        return Err(failed(fault.to_string()));
    }
    let bytes = read_all(&file, MAX_CERTIFICATES).map_err(failed)?;
    sealed(&bytes).map_err(|error| failed(format!("no memory for it: {error}")))
}

/// Returns what changes whenever the file is written or replaced; `None` while it cannot be opened.
pub(super) fn stamp(path: &str) -> Option<Stamp> {
    Stamp::of(&open_credential(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn certificates_that_others_may_write_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let name = path.to_str().unwrap();
        assert!(in_memory(name).unwrap_err().contains("write it to that file"));
        fs::write(&path, "x").unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            in_memory(name)
        };
        with_mode(0o644).unwrap();
        let error = with_mode(0o664).unwrap_err();
        assert!(error.ends_with("may write it (mode 0664): chmod go-w"), "{error}");
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(in_memory(link.to_str().unwrap()).unwrap_err().contains("symbolic link"));
        with_mode(0o644).unwrap();
        fs::write(&path, vec![b'x'; MAX_CERTIFICATES + 1]).unwrap();
        assert!(in_memory(name).unwrap_err().ends_with("larger than 1048576 bytes"));
    }
}
