//! Where broker, service and clients run: here, or in a service manager of the test's own.

use std::path::{Path, PathBuf};

use fdbroker::Broker;
use fdbroker_tests::traffic::program::Program;
use fdbroker_tests::traffic::service;
use fdbroker_tests::{HelperProcess, Peer, systemd::ServiceManager, wait_until};

/// Where the broker is.
pub(super) struct Site<'a> {
    manager: Option<&'a ServiceManager>,
    /// The broker's socket, as the processes there see it.
    socket: PathBuf,
    /// The socket of the server that the policy connects to, likewise.
    server: PathBuf,
}

/// The tags of the policy, beside that of the service.
pub(super) const CLAIMED: i16 = 11;
pub(super) const SERIAL: i16 = 12;
pub(super) const THINGS: i16 = 13;
pub(super) const SERVERS: i16 = 14;

impl<'a> Site<'a> {
    /// Here.
    pub(super) fn here(socket: PathBuf, server: PathBuf) -> Self {
        Self { manager: None, socket, server }
    }

    /// In a service manager, with the package's socket.
    pub(super) fn within(manager: &'a ServiceManager) -> Self {
        let socket = "/run/fdbroker/fdbroker.sock".into();
        Self { manager: Some(manager), socket, server: "/run/user-server.sock".into() }
    }

    /// Starts a process of `traffic`.
    #[track_caller]
    pub(super) fn program(&self, arguments: &[&str]) -> Program {
        match self.manager {
            Some(manager) => Program::within(manager, arguments),
            None => Program::start(arguments),
        }
    }

    /// Starts a process that does what the test tells it.
    pub(super) fn helper(&self) -> HelperProcess {
        self.manager.map_or_else(HelperProcess::same, HelperProcess::within)
    }

    /// Has such a process connect to the broker.
    #[track_caller]
    pub(super) fn connect(&self, process: &HelperProcess) -> Peer {
        process.try_connect(&self.socket, None).expect("the broker accepts").greeted()
    }

    /// A session of this process.
    #[track_caller]
    pub(super) fn broker(&self) -> Broker {
        Broker::connect_to(self.outside(&self.socket)).expect("the broker serves")
    }

    /// The broker's socket, for the processes there.
    pub(super) fn socket(&self) -> &str {
        self.socket.to_str().unwrap()
    }

    /// Where the server listens.
    pub(super) fn server(&self) -> &str {
        self.server.to_str().unwrap()
    }

    /// A file there, which is new and in memory or on a disk; as the processes there see it.
    pub(super) fn file(&self) -> PathBuf {
        let path = self.server.with_extension("file");
        std::fs::write(self.outside(&path), "what a deposit shows, from its offset on").unwrap();
        path
    }

    fn outside(&self, inside: &Path) -> PathBuf {
        let inside = inside.to_str().unwrap();
        self.manager.map_or_else(|| inside.into(), |manager| manager.path(inside))
    }

    /// Waits until everything would outlive the broker, if there is a service manager.
    #[track_caller]
    pub(super) fn is_mirrored(&self) {
        if self.manager.is_none() {
            return;
        }
        wait_until("everything is stored", || {
            let status = self.broker().status().unwrap();
            status.lines().any(|line| {
                line.starts_with("mirror=") && line.ends_with(" 0 here only, 0 to be sent")
            })
        });
    }

    /// The policy, without its version.
    pub(super) fn policy(&self) -> String {
        let (name, number, server) = (service::NAME, service::TAG, self.server());
        format!(
            r#"
[tags.{name}]
id = {number}
serial = true
accept = ["tcp"]

[tags.claimed]
id = {CLAIMED}

[tags.serial]
id = {SERIAL}
serial = true

[tags.things]
id = {THINGS}
accept = ["file", "pipe", "unix-datagram", "none"]

[tags.servers]
id = {SERVERS}

[resources.server]
slot = "servers/0"
connect = "unix:{server}"
holders = 5

[[rules]]
id = "everybody does anything"
allow = ["*"]
slots = ["*"]
anyone = true

[[rules]]
id = "everybody operates"
allow = ["operate"]
anyone = true
"#
        )
    }
}
