//! How a daemon is to be started.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binaries::binaries;
use crate::daemon::TRIER;
use crate::started::Started;
use crate::starting::Starting;
use crate::{Daemon, Directory, Ids, Log, sys};

/// Gathers what a daemon is started with.
#[derive(Debug)]
pub struct Builder {
    pub(crate) directory: Directory,
    policy: Option<String>,
    settings: String,
    run_as: Option<Ids>,
    format: &'static str,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    listening: Option<OwnedFd>,
    stored: Vec<(String, OwnedFd)>,
    own_session: bool,
    badly_started: bool,
    socket: Option<PathBuf>,
    descriptor_limit: Option<u64>,
    daemon: Option<PathBuf>,
}

/// Whom the worker runs as, where the tests run as root.
pub const WORKER: u32 = 64001;

impl Daemon {
    /// A daemon with a policy, to which `version` and `[broker]` are added.
    pub fn with_policy(body: &str) -> Builder {
        Builder::new(Some(body.to_owned()))
    }

    /// A daemon without a policy file, as someone who is not root would try it out; `None` if this
    /// machine has a policy file of its own.
    pub fn built_in(what: &str) -> Option<Builder> {
        if Path::new("/etc/fdbroker/policy.toml").exists() {
            crate::skip(what, "/etc/fdbroker/policy.toml exists and would be used");
            return None;
        }
        let builder = Builder::new(None);
        Some(if crate::is_root() { builder.run_as(Ids::plain(TRIER)) } else { builder })
    }

    /// A daemon with a policy file as it lies there, good or bad.
    pub fn with_policy_file(policy: &Path) -> Builder {
        Builder::new(None).argument("--policy").argument(policy)
    }

    /// A daemon where anyone may do anything to the slots of tag 1 (`open`). It accepts every kind
    /// that a tag accepts if the policy does not say.
    pub fn open() -> Builder {
        Self::with_policy(crate::fixtures::OPEN)
    }
}

impl Builder {
    pub(crate) fn new(policy: Option<String>) -> Self {
        Self {
            directory: Directory::new(),
            policy,
            settings: String::new(),
            run_as: None,
            format: "json",
            arguments: Vec::new(),
            environment: Vec::new(),
            listening: None,
            stored: Vec::new(),
            own_session: false,
            badly_started: false,
            socket: None,
            descriptor_limit: None,
            daemon: None,
        }
    }

    /// The directory that everything of this daemon lies in, to put files into before it starts.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Another policy, for one that names files of [`Builder::directory`].
    pub fn policy(mut self, body: &str) -> Self {
        self.policy = Some(body.to_owned());
        self
    }

    /// A line in the policy's `[broker]`, beside `user`.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// Starts the daemon as this user. Only for root.
    pub fn run_as(mut self, ids: Ids) -> Self {
        self.run_as = Some(ids);
        self
    }

    /// The form of the log, in place of JSON.
    pub fn log_format(mut self, format: &'static str) -> Self {
        self.format = format;
        self
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable of the environment.
    pub fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Passes a listening socket in, as a service manager does.
    pub fn listening(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.listening = Some(socket.into());
        self
    }

    /// Passes in, beside a listening socket, what a service manager has stored, under its names.
    pub fn stored(mut self, stored: Vec<(String, OwnedFd)>) -> Self {
        self.stored = stored;
        self
    }

    /// Another path for the socket.
    pub fn socket(mut self, path: PathBuf) -> Self {
        self.socket = Some(path);
        self
    }

    /// Makes the supervisor the leader of a session without a terminal.
    pub fn own_session(mut self) -> Self {
        self.own_session = true;
        self
    }

    /// Starts the daemon with every signal blocked and SIGCHLD ignored, as careless programs do.
    pub fn badly_started(mut self) -> Self {
        self.badly_started = true;
        self
    }

    /// Lets neither process have more descriptors than this.
    pub fn descriptor_limit(mut self, limit: u64) -> Self {
        self.descriptor_limit = Some(limit);
        self
    }

    /// Another program than this build's daemon, to compare with.
    pub fn daemon(mut self, program: PathBuf) -> Self {
        self.daemon = Some(program);
        self
    }

    /// Where the policy file lies, once started.
    pub fn policy_path(&self) -> PathBuf {
        self.directory.join("policy.toml")
    }

    /// Starts the daemon and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Daemon {
        self.begin().serves()
    }

    /// Starts the daemon, and waits for nothing.
    pub fn begin(self) -> Starting {
        Starting(self.spawn())
    }

    /// Starts a daemon that is expected to fail; returns its exit status and what it said.
    #[track_caller]
    pub fn fail(self) -> (i32, String) {
        self.begin().fails()
    }

    fn spawn(self) -> Started {
        let socket = self.socket.clone().unwrap_or_else(|| self.directory.join("socket"));
        let passed = self.listening.as_ref().and_then(path_of);
        let bound = passed.unwrap_or_else(|| socket.clone());
        let log = Log::new(self.directory.join("log"));
        let (ready, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut command = self.program();
        let head = self.head();
        self.write_policy(&head, &mut command);
        command.arg("--socket").arg(&socket).args(["--log-format", self.format]);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.open());
        let mut passed: Vec<OwnedFd> = self.listening.into_iter().collect();
        passed.extend(self.stored.into_iter().map(|(_, descriptor)| descriptor));
        command.arg("--ready-fd").arg((3 + passed.len()).to_string());
        passed.push(tells);
        sys::pass_descriptors(&mut command, passed);
        if let Some(limit) = self.descriptor_limit {
            sys::limit_before(&mut command, limit);
        }
        if self.badly_started {
            sys::with_signals_blocked(&mut command);
        }
        if self.own_session {
            sys::in_own_session(&mut command);
        }
        if let Some(ids) = self.run_as {
            self.directory.give_to(&ids);
            sys::become_before(&mut command, ids);
        }
        let child = command.spawn().expect("the daemon can be executed");
        drop(command);
        Started { child, ready: ready.into(), log, socket, bound, directory: self.directory, head }
    }

    /// The daemon itself, or a shell that says LISTEN_PID and becomes it.
    fn program(&self) -> Command {
        let daemon = self.daemon.as_ref().unwrap_or_else(|| &binaries().daemon);
        let mut command = match self.listening {
            None => Command::new(daemon),
            Some(_) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(daemon);
                shell
            }
        };
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").current_dir("/");
        if self.listening.is_some() {
            let names = self.stored.iter().map(|(name, _)| format!(":{name}"));
            let names: String =
                std::iter::once("fdbrokerd.socket".to_owned()).chain(names).collect();
            command.env("LISTEN_FDS", (1 + self.stored.len()).to_string());
            command.env("LISTEN_FDNAMES", names);
        }
        command
    }

    /// What stands before a policy's body.
    fn head(&self) -> String {
        let worker = self.settings.contains("user =");
        let user = if worker { String::new() } else { format!("user = {}\n", WORKER) };
        format!("version = 1\n[broker]\n{user}{}\n", self.settings)
    }

    fn write_policy(&self, head: &str, command: &mut Command) {
        let Some(body) = &self.policy else { return };
        let path = self.directory.file("policy.toml", format!("{head}{body}"), 0o644);
        command.arg("--policy").arg(path);
    }
}

/// The path that a socket is bound to.
fn path_of(socket: &OwnedFd) -> Option<PathBuf> {
    let socket = UnixListener::from(socket.try_clone().ok()?);
    socket.local_addr().ok()?.as_pathname().map(PathBuf::from)
}
