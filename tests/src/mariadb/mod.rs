//! A real MariaDB server, in a directory of the test's, on loopback and a Unix socket.
//!
//! It is Debian's, run by an unprivileged user; where there is none, the test is skipped aloud.

mod query;

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::port::own_port;
use crate::{Directory, Ids, Signed, is_root, skip, sys, wait_for};

pub use query::select;

const PROGRAM: &str = "/usr/sbin/mariadbd";
/// The tables of its own database, and what is in them: mariadb-install-db executes them, which is in another package.
const TABLES: [&str; 2] =
    ["/usr/share/mysql/mysql_system_tables.sql", "/usr/share/mysql/mysql_system_tables_data.sql"];
/// Whom it runs as where the tests run as root.
const ACCOUNT: u32 = 636;

/// A server that runs. Ends when dropped.
#[derive(Debug)]
pub struct MariaDb {
    server: Child,
    directory: Directory,
    port: u16,
}

impl MariaDb {
    /// Starts one for the test `what`, which has executed these statements, each in one line.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[track_caller]
    pub fn start(what: &str, statements: &[&str]) -> Option<Self> {
        Self::start_with(what, statements, None)
    }

    /// The same, with TLS for clients that ask for it.
    ///
    /// # Panics
    /// As [`MariaDb::start`].
    #[track_caller]
    pub fn start_encrypted(what: &str, statements: &[&str], signed: &Signed) -> Option<Self> {
        Self::start_with(what, statements, Some(signed))
    }

    #[track_caller]
    fn start_with(what: &str, statements: &[&str], signed: Option<&Signed>) -> Option<Self> {
        if ![PROGRAM, TABLES[0], TABLES[1]].iter().all(|path| Path::new(path).exists()) {
            skip(what, "there is no MariaDB server (mariadb-server-core)");
            return None;
        }
        let directory = Directory::new();
        if is_root() {
            directory.give_to(&Ids::plain(ACCOUNT));
        }
        initialise(&directory);
        directory.file("statements", statements.join("\n"), 0o644);
        let port = own_port();
        let server = Self { server: serve(&directory, port, signed), directory, port };
        // Connections wait in its queue until the statements are executed.
        wait_for("the server accepts connections", || UnixStream::connect(server.socket()).ok());
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The command of the server on the directory, as its owner.
fn command(directory: &Directory) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().current_dir(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.arg("--no-defaults").arg("--datadir").arg(directory.join("data"));
    // One that starts removes the temporary tables that it finds, of whatever server.
    command.arg("--tmpdir").arg(directory.path());
    command.args(["--skip-log-bin", "--innodb-use-native-aio=0"]);
    command.args(["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M"]);
    if is_root() {
        sys::become_before(&mut command, Ids::plain(ACCOUNT));
    }
    command
}

fn initialise(directory: &Directory) {
    let data = directory.join("data");
    fs::create_dir(&data).unwrap();
    if is_root() {
        chown(&data, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    }
    // Nobody is superuser over the network, and nobody may log in without a name.
    let mut text = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    text += "SET @auth_root_socket = NULL, @skip_auth_anonymous = 1;\n";
    text.extend(TABLES.map(|path| fs::read_to_string(path).unwrap()));
    let input = directory.file("tables", text, 0o644);
    let output = command(directory)
        .arg("--bootstrap")
        .stdin(File::open(input).unwrap())
        .stderr(Stdio::piped())
        .output()
        .expect("mariadbd starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mariadbd --bootstrap ({}): {said}", output.status);
}

fn serve(directory: &Directory, port: u16, signed: Option<&Signed>) -> Child {
    let mut command = command(directory);
    if let Some(signed) = signed {
        let ids = if is_root() { Ids::plain(ACCOUNT) } else { Ids::own() };
        let Signed { certificate, key } = signed.copied_to(directory, &ids);
        command.arg("--ssl-cert").arg(certificate).arg("--ssl-key").arg(key);
    }
    command
        .args(["--bind-address=127.0.0.1", "--port", &port.to_string(), "--skip-name-resolve"])
        .arg("--socket")
        .arg(directory.join("socket"))
        .arg("--pid-file")
        .arg(directory.join("pid"))
        .arg("--init-file")
        .arg(directory.join("statements"))
        .arg("--innodb-flush-log-at-trx-commit=0")
        .spawn()
        .expect("mariadbd starts")
}
