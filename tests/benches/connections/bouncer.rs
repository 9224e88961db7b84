//! Debian's pgbouncer, which keeps passwords away from programs too, and copies for ever after.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fdbroker_tests::port::own_port;
use fdbroker_tests::{Directory, Ids, Postgres, is_root, skip, sys, wait_for};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
/// Whom it runs as where the bench runs as root.
const ACCOUNT: u32 = 64038;

/// One that runs. Ends when dropped.
pub struct Bouncer {
    process: Child,
    directory: Directory,
    port: u16,
}

impl Bouncer {
    /// Starts one that logs in as `orders`.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(server: &Postgres, password: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            skip("throughput by pgbouncer", "there is no pgbouncer (pgbouncer)");
            return None;
        }
        let (directory, port) = (Directory::new(), own_port());
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=orders \
             password={password}\n[pgbouncer]\nlisten_addr =\nlisten_port = {port}\n\
             unix_socket_dir = {path}\nauth_type = any\npool_mode = session\n\
             logfile = {path}/log\n",
            server.port(),
            path = directory.path().display()
        );
        let settings = directory.file("pgbouncer.ini", settings, 0o644);
        let mut command = Command::new(PROGRAM);
        command.arg("-q").arg(settings).stdin(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            let ids = Ids::plain(ACCOUNT);
            directory.give_to(&ids);
            sys::become_before(&mut command, ids);
        }
        let process = command.spawn().expect("pgbouncer starts");
        let bouncer = Self { process, directory, port };
        let socket = bouncer.directory.join(&format!(".s.PGSQL.{port}"));
        wait_for("pgbouncer listens", || UnixStream::connect(&socket).ok());
        Some(bouncer)
    }

    /// Leads a program of PostgreSQL there.
    pub fn lead(&self, command: &mut Command) {
        command.env("PGHOST", self.directory.path()).env("PGPORT", self.port.to_string());
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
