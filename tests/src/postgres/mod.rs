//! A real PostgreSQL server: its own cluster in a directory of the test's, on loopback and a Unix socket.
//!
//! It is Debian's, run by an unprivileged user; where there is none, the test is skipped aloud. Roles are made
//! by its superuser, who comes over the Unix socket and needs no password.

mod query;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::port::own_port;
use crate::{Directory, Ids, Signed, skip, sys, wait_for, wait_until};

pub use query::select;

/// Where Debian has its programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The accounts that it can run as where the tests run as root: initdb looks its user's name up.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// Who makes the roles.
const SUPERUSER: &str = "superuser";

/// A server that runs. Ends when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    programs: PathBuf,
    directory: Directory,
    port: u16,
    /// The lines of its pg_hba.conf.
    access: RefCell<String>,
}

impl Postgres {
    /// Starts one for the test `what`. The lines are those of its pg_hba.conf, after that of the superuser.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[track_caller]
    pub fn start(what: &str, access: &str) -> Option<Self> {
        Self::start_with(what, access, |_, _| Vec::new())
    }

    /// The same with TLS. Clients show certificates of this authority, if they show any.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[track_caller]
    pub fn start_encrypted(
        what: &str,
        access: &str,
        signed: &Signed,
        authority: &Path,
    ) -> Option<Self> {
        Self::start_with(what, access, |directory, ids| {
            let Signed { certificate, key } = signed.copied_to(directory, ids);
            let files = [
                ("ssl_cert_file", &*certificate),
                ("ssl_key_file", &key),
                ("ssl_ca_file", authority),
            ];
            let settings = files.map(|(name, path)| format!("{name}={}", path.display()));
            settings.into_iter().chain(["ssl=on".to_owned()]).collect()
        })
    }

    #[track_caller]
    fn start_with(
        what: &str,
        access: &str,
        settings: impl FnOnce(&Directory, &Ids) -> Vec<String>,
    ) -> Option<Self> {
        let Some(programs) = installed() else {
            skip(what, "there is no PostgreSQL server (postgresql)");
            return None;
        };
        let Some(ids) = account() else {
            skip(what, "no account that a PostgreSQL server could run as");
            return None;
        };
        let directory = Directory::new();
        directory.give_to(&ids);
        initialise(&programs, &directory, &ids);
        let port = own_port();
        let settings = settings(&directory, &ids);
        let server = serve(&programs, &directory, &ids, port, &settings);
        let server = Self { server, programs, directory, port, access: RefCell::default() };
        server.allow(access);
        wait_for("the server accepts connections", || server.try_execute("SELECT 1").ok());
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of a program of its version, such as psql.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(&format!(".s.PGSQL.{}", self.port))
    }

    /// Has it executed by the superuser.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn execute(&self, statement: &str) -> String {
        self.try_execute(statement).expect("the superuser may do everything")
    }

    /// Puts other lines into pg_hba.conf, and has the server read them again.
    #[track_caller]
    pub fn set_access(&self, access: &str) {
        // A new session has it from the server's main process, which reads both files at once.
        let loaded = || self.execute("SELECT pg_conf_load_time()");
        self.allow(access);
        let before = loaded();
        self.execute("SELECT pg_reload_conf()");
        wait_until("the server has read its pg_hba.conf", || loaded() != before);
    }

    /// Has a server with TLS show another certificate from now on.
    #[track_caller]
    pub fn set_certificate(&self, signed: &Signed) {
        let ids = account().expect("it runs as somebody");
        signed.copied_to(&self.directory, &ids);
        let access = self.access.borrow().clone();
        self.set_access(&access);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn allow(&self, access: &str) {
        access.clone_into(&mut self.access.borrow_mut());
        let text = format!("local all {SUPERUSER} trust\n{access}\n");
        fs::write(self.directory.join("data/pg_hba.conf"), text).unwrap();
    }

    fn try_execute(&self, statement: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-d", "postgres", "-U", SUPERUSER, "-c", statement])
            .arg("-h")
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string()])
            .env_clear()
            .output()
            .expect("psql starts");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends it at once, with all of its processes; nothing of it is needed any more.
        let _ = kill_process(Pid::from_child(&self.server), Signal::QUIT);
        let _ = self.server.wait();
    }
}

/// Where the programs of the newest version are that is installed.
pub fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|programs| {
            ["initdb", "postgres", "psql"].iter().all(|it| programs.join(it).exists())
        })
        .collect();
    found.sort();
    found.pop()
}

/// Whom the server runs as.
fn account() -> Option<Ids> {
    named_account().map(|(_, ids)| ids)
}

/// An account for a server that looks its user's name up.
pub(crate) fn named_account() -> Option<(String, Ids)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let accounts: Vec<(String, Ids)> = passwd.lines().filter_map(account_of_line).collect();
    if !crate::is_root() {
        return accounts.into_iter().find(|(_, ids)| ids.uid == Ids::own().uid);
    }
    let named = |name: &&str| accounts.iter().find(|(found, _)| found == name);
    ACCOUNTS.iter().find_map(named).cloned()
}

fn account_of_line(line: &str) -> Option<(String, Ids)> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name, Ids { uid, gid, groups: Vec::new() }))
}

fn command(program: &Path, ids: &Ids) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").stdin(Stdio::null());
    if crate::is_root() {
        sys::become_before(&mut command, ids.clone());
    }
    command
}

fn initialise(programs: &Path, directory: &Directory, ids: &Ids) {
    let output = command(&programs.join("initdb"), ids)
        .args(["--no-sync", "--no-instructions", "--auth=trust", "--locale=C", "--encoding=UTF8"])
        .args(["-U", SUPERUSER, "-D"])
        .arg(directory.join("data"))
        .output()
        .expect("initdb starts");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn serve(
    programs: &Path,
    directory: &Directory,
    ids: &Ids,
    port: u16,
    settings: &[String],
) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    let sockets = format!("unix_socket_directories={}", directory.path().display());
    command(&programs.join("postgres"), ids)
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-p", &port.to_string(), "-c", &sockets])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=4MB"])
        .args(["-c", "dynamic_shared_memory_type=mmap", "-c", "max_connections=80"])
        .args(["-c", "log_connections=on"])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres starts")
}
