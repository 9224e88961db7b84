//! An authority of a test's own, and the certificates that it signs. The openssl command makes them; where there is
//! none, the test is skipped aloud.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Directory, Ids, skip};

/// From when on a certificate holds, and until when.
pub type Validity = [&'static str; 2];

pub const VALID: Validity = ["20200101000000Z", "20990101000000Z"];
pub const EXPIRED: Validity = ["20200101000000Z", "20200102000000Z"];
pub const NOT_YET_VALID: Validity = ["20980101000000Z", "20990101000000Z"];

/// An authority.
#[derive(Debug)]
pub struct Authority(Directory);

/// A certificate that it has signed, and the key.
#[derive(Debug, Clone)]
pub struct Signed {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Makes one for the test `what`.
    #[track_caller]
    pub fn new(what: &str) -> Option<Self> {
        Self::named(what, "authority")
    }

    /// Makes one of this name.
    #[track_caller]
    pub fn named(what: &str, name: &str) -> Option<Self> {
        let is_there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
        if is_there.is_err() {
            skip(what, "there is no openssl command");
            return None;
        }
        let authority = Self(Directory::new());
        let directory = authority.0.path().display();
        let config = CONFIG.replace("DIRECTORY", &directory.to_string());
        authority.0.file("config", config, 0o644);
        authority.0.file("index", "", 0o644);
        let subject = format!("/CN={name}");
        authority.openssl(&[
            "req",
            "-x509",
            "-extensions",
            "of_authority",
            "-days",
            "30",
            "-subj",
            &subject,
            "-newkey",
            "ec",
            "-pkeyopt",
            CURVE,
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        Some(authority)
    }

    /// The path of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Signs a certificate for a subject, with other names such as `IP:127.0.0.1`, if there are any.
    #[track_caller]
    pub fn sign(&self, subject: &str, names: &str, [from, until]: Validity) -> Signed {
        let named = format!("subjectAltName={names}");
        let subject = format!("/CN={subject}");
        let mut request = vec![
            "req", "-new", "-subj", &subject, "-newkey", "ec", "-pkeyopt", CURVE, "-nodes",
            "-keyout", "new.key", "-out", "new.csr",
        ];
        if !names.is_empty() {
            request.extend(["-addext", &named]);
        }
        self.openssl(&request);
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-extensions",
            "of_others",
            "-in",
            "new.csr",
            "-out",
            "new.pem",
            "-startdate",
            from,
            "-enddate",
            until,
        ]);
        let [certificate, key] = ["pem", "key"].map(|kind| {
            let number = fs::read_dir(self.0.path()).unwrap().count();
            let path = self.0.join(&format!("{number}.{kind}"));
            fs::rename(self.0.join(&format!("new.{kind}")), &path).unwrap();
            path
        });
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Signed { certificate, key }
    }

    #[track_caller]
    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .args(["-config", "config"])
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Signed {
    /// Copies both into a directory for somebody who runs a server; returns where they are.
    pub fn copied_to(&self, directory: &Directory, ids: &Ids) -> Self {
        let copy = |from: &PathBuf, name: &str| {
            let path = directory.private_file(name, fs::read(from).unwrap());
            chown(&path, Some(ids.uid), Some(ids.gid)).unwrap();
            path
        };
        let certificate = copy(&self.certificate, "server.pem");
        Self { certificate, key: copy(&self.key, "server.key") }
    }
}

const CURVE: &str = "ec_paramgen_curve:prime256v1";

const CONFIG: &str = "
[ca]
default_ca = authority
[authority]
database = DIRECTORY/index
new_certs_dir = DIRECTORY
rand_serial = yes
certificate = DIRECTORY/ca.pem
private_key = DIRECTORY/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[of_authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[of_others]
basicConstraints = CA:FALSE
";
