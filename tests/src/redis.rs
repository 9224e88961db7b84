//! A real Redis server, in a directory of the test's, on loopback and a Unix socket.
//!
//! It is Debian's, run by an unprivileged user; where there is none, the test is skipped aloud.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::port::own_port;
use crate::{Directory, Ids, Signed, is_root, skip, sys, wait_for};

const PROGRAM: &str = "/usr/bin/redis-server";
/// Whom it runs as where the tests run as root.
const ACCOUNT: u32 = 633;

/// A server that runs. Ends when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Child,
    directory: Directory,
    port: u16,
}

impl Redis {
    /// Starts one for the test `what`, with these settings beside.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[track_caller]
    pub fn start(what: &str, settings: &[&str]) -> Option<Self> {
        Self::start_with(what, settings, None)
    }

    /// The same with TLS, and none without. Clients must show certificates of this authority.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[track_caller]
    pub fn start_encrypted(
        what: &str,
        settings: &[&str],
        signed: &Signed,
        authority: &Path,
    ) -> Option<Self> {
        Self::start_with(what, settings, Some((signed, authority)))
    }

    #[track_caller]
    fn start_with(
        what: &str,
        settings: &[&str],
        encrypted: Option<(&Signed, &Path)>,
    ) -> Option<Self> {
        if !PathBuf::from(PROGRAM).exists() {
            skip(what, "there is no Redis server (redis-server)");
            return None;
        }
        let directory = Directory::new();
        let port = own_port();
        let mut command = Command::new(PROGRAM);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--unixsocketperm", "777"]);
        command.arg("--dir").arg(directory.path()).arg("--unixsocket").arg(directory.join("redis"));
        command.args(settings);
        let ids = Ids { uid: ACCOUNT, gid: ACCOUNT, groups: Vec::new() };
        let ids = if is_root() { ids } else { Ids::own() };
        if let Some((signed, authority)) = encrypted {
            let Signed { certificate, key } = signed.copied_to(&directory, &ids);
            command.args(["--port", "0", "--tls-port", &port.to_string()]);
            command.arg("--tls-cert-file").arg(certificate).arg("--tls-key-file").arg(key);
            command.arg("--tls-ca-cert-file").arg(authority);
        }
        if is_root() {
            directory.give_to(&ids);
            sys::become_before(&mut command, ids);
        }
        let server = command.spawn().expect("redis-server starts");
        let server = Self { server, directory, port };
        wait_for("the server accepts connections", || UnixStream::connect(server.socket()).ok());
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("redis")
    }

    /// Has a command executed on a connection, and returns the answer: a line, or a text of one line. `early` is
    /// what the server has sent before.
    ///
    /// # Errors
    /// As read(2) and write(2).
    pub fn ask(mut there: impl Read + Write, early: &[u8], command: &str) -> io::Result<String> {
        there.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answers = BufReader::new(early.chain(there));
        let mut line = || {
            let mut line = String::new();
            answers.read_line(&mut line).map(|_| line.trim_end().to_owned())
        };
        let first = line()?;
        if first.starts_with(['$', '=']) { line() } else { Ok(first) }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
