//! A real SSH server, in a directory of the test's, on a loopback port, run by an unprivileged user, who is also the one
//! that can log in.
//!
//! It is Debian's; where there is none, the test is skipped aloud.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::port::own_port;
use crate::{Directory, Ids, is_root, skip, sys, wait_until};

const PROGRAM: &str = "/usr/sbin/sshd";
/// What ends a session at once.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "sync", "true"];

/// A server that runs. Ends when dropped.
#[derive(Debug)]
pub struct Sshd {
    server: Child,
    directory: Directory,
    port: u16,
    user: String,
    ids: Ids,
}

impl Sshd {
    /// Starts one for the test `what`.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[track_caller]
    pub fn start(what: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() || !is_there("ssh") || !is_there("ssh-keygen") {
            skip(what, "there is no SSH server and client (openssh-server, openssh-client)");
            return None;
        }
        let Some((user, ids)) = account() else {
            skip(what, "no account with a shell that an SSH server could run as");
            return None;
        };
        let directory = Directory::new();
        if is_root() {
            directory.give_to(&ids);
        }
        ["host", "client"].iter().for_each(|name| make_key(&directory, name, &ids));
        let port = own_port();
        let settings = settings(&directory, port, &user);
        let settings = directory.file("sshd_config", settings, 0o644);
        let mut command = Command::new(PROGRAM);
        command.arg("-D").arg("-e").arg("-f").arg(settings).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        become_user(&mut command, &ids);
        let server = command.spawn().expect("sshd starts");
        let server = Self { server, directory, port, user, ids };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("the SSH server accepts connections", answers);
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom it lets in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its client, run by the same user, with a configuration that begins with these lines: it knows the key of the
    /// server under the name of a host, and has the key that lets it in.
    pub fn client(&self, host: &str, lines: &str) -> Command {
        let key = fs::read_to_string(self.directory.join("host.pub")).unwrap();
        let known = self.directory.file("known_hosts", format!("{host} {key}"), 0o644);
        let settings = format!(
            "{lines}\n    User {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    BatchMode yes\n    \
             UserKnownHostsFile {}\n    StrictHostKeyChecking yes\n",
            self.user,
            self.directory.join("client").display(),
            known.display()
        );
        let settings = self.directory.file("ssh_config", settings, 0o644);
        let mut command = Command::new("ssh");
        command.arg("-F").arg(settings).current_dir("/").stdin(Stdio::null());
        become_user(&mut command, &self.ids);
        command
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

fn become_user(command: &mut Command, ids: &Ids) {
    if is_root() {
        sys::become_before(command, ids.clone());
    }
}

/// An ordinary account whose shell runs commands; this user's own, where the tests do not run as root.
fn account() -> Option<(String, Ids)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let usable = |(_, ids): &(String, Ids)| match is_root() {
        true => ids.uid != 0,
        false => ids.uid == Ids::own().uid,
    };
    passwd.lines().filter_map(account_with_shell).find(usable)
}

fn account_with_shell(line: &str) -> Option<(String, Ids)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, uid, gid, _, _, shell] = fields[..] else { return None };
    let is_shell = !NO_SHELLS.iter().any(|none| shell.ends_with(none)) && Path::new(shell).exists();
    let ids = Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()?, groups: Vec::new() };
    is_shell.then(|| (name.to_owned(), ids))
}

/// Makes a key that belongs to the account.
fn make_key(directory: &Directory, name: &str, ids: &Ids) {
    let path = directory.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&path);
    assert!(command.status().is_ok_and(|status| status.success()), "ssh-keygen makes a key");
    if is_root() {
        chown(&path, Some(ids.uid), Some(ids.gid)).unwrap();
    }
}

/// A configuration that needs no privilege.
fn settings(directory: &Directory, port: u16, user: &str) -> String {
    let here = |name: &str| -> PathBuf { directory.join(name) };
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nAllowUsers {user}\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n",
        here("host").display(),
        here("client.pub").display()
    )
}
