//! Another process, of another user or of ours, that does what a test tells it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::binaries::{binaries, copy_program};
use crate::helper_protocol::{Outcome, Task, hear, tell};
use crate::hostile::Attack;
use crate::sys::Received;
use crate::systemd::ServiceManager;
use crate::{Ids, process, wait_for, wait_until};

/// A helper process. Ends when it and all of its [`crate::Peer`]s are dropped.
#[derive(Clone, Debug)]
pub struct HelperProcess(Arc<Mutex<Helper>>);

/// A socket or other descriptor that a helper holds, and closes when this is dropped.
#[derive(Debug)]
pub struct Connection {
    helper: HelperProcess,
    on: usize,
}

/// An attack that goes on.
#[derive(Debug)]
pub struct AttackUnderWay(HelperProcess);

#[derive(Debug)]
struct Helper {
    /// None for one that another helper started.
    child: Option<Child>,
    pid: u32,
    socket: UnixStream,
}

impl HelperProcess {
    /// A process of our own user.
    pub fn same() -> Self {
        let (socket, input) = UnixStream::pair().unwrap();
        let child = Command::new(&binaries().peer).stdin(OwnedFd::from(input)).spawn().unwrap();
        Self::new(child.id(), Some(child), socket)
    }

    /// A process in a service manager of the test's own, as its root.
    pub fn within(manager: &ServiceManager) -> Self {
        let (socket, input) = UnixStream::pair().unwrap();
        let program = "/usr/local/bin/fdbroker-test-peer";
        if !manager.path(program).exists() {
            copy_program(&binaries().peer, &manager.path(program));
            manager.succeed(&["chmod", "755", program]);
        }
        let child = Command::new("nsenter")
            .args(["--all", "--root", "--wd", "--target", &manager.init().to_string(), "--"])
            .arg(program)
            .stdin(OwnedFd::from(input))
            .spawn()
            .unwrap();
        let pid = wait_for("nsenter starts it", || process::children(child.id()).first().copied());
        Self::new(pid, Some(child), socket)
    }

    /// A process of another user. Only for root.
    pub fn who_is(ids: Ids) -> Self {
        let helper = Self::same();
        helper.become_user(ids);
        helper
    }

    /// A process of this user with a group of the same number. Only for root.
    pub fn user(uid: u32) -> Self {
        Self::who_is(Ids::plain(uid))
    }

    /// A process that has exactly this process id, which must be free. Only for root.
    ///
    /// # Errors
    /// As clone3(2).
    pub fn with_pid(pid: u32) -> io::Result<Self> {
        let (socket, input) = UnixStream::pair()?;
        let program = binaries().peer.clone();
        let midwife = Self::same();
        midwife.perform(&Task::StartWithPid { pid, program }, &[input.as_fd()])?;
        Ok(Self::new(pid, None, socket))
    }

    fn new(pid: u32, child: Option<Child>, socket: UnixStream) -> Self {
        // The helper itself may wait as long as it has patience.
        socket.set_read_timeout(Some(crate::PATIENCE * 2)).unwrap();
        Self(Arc::new(Mutex::new(Helper { child, pid, socket })))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.lock().unwrap().pid
    }

    /// Makes it another user.
    #[track_caller]
    pub fn become_user(&self, ids: Ids) {
        self.perform(&Task::Become(ids), &[]).expect("root can become anyone");
    }

    /// Has it connect to a path; returns the bare socket.
    ///
    /// # Errors
    /// As connect(2).
    pub fn open_connection(&self, path: &Path) -> io::Result<Connection> {
        self.open_bound_connection(path, None)
    }

    /// The same, maybe from a path of its own.
    ///
    /// # Errors
    /// As bind(2) and connect(2).
    pub fn open_bound_connection(
        &self,
        path: &Path,
        bound: Option<&Path>,
    ) -> io::Result<Connection> {
        let task = Task::Connect { path: path.into(), bound: bound.map(Into::into) };
        Ok(self.connection(self.number(&task, &[])?))
    }

    /// Hands it a descriptor to hold on to.
    #[track_caller]
    pub fn keep(&self, descriptor: impl AsFd) -> Connection {
        let number = self.number(&Task::Keep, &[descriptor.as_fd()]).unwrap();
        self.connection(number)
    }

    /// Has it open a path, for reading or for both.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(&self, path: &Path, write: bool) -> io::Result<OwnedFd> {
        let (_, descriptors) = self.perform(&Task::Open { path: path.into(), write }, &[])?;
        Ok(descriptors.into_iter().next().expect("what was opened is given"))
    }

    /// Has it set another process's limit of descriptors; returns the old limit.
    ///
    /// # Errors
    /// As prlimit(2).
    pub fn limit_descriptors(&self, pid: u32, soft: u64) -> io::Result<u64> {
        self.number(&Task::LimitDescriptors { pid, soft }, &[])
    }

    /// Has it attack a broker until the attack is ended, or for so long at most; returns when it
    /// has begun. It can do nothing else at the same time.
    ///
    /// # Errors
    /// When the attack has not begun.
    pub fn attack(
        &self,
        path: &Path,
        attack: Attack,
        connections: usize,
        at_most: Duration,
    ) -> io::Result<AttackUnderWay> {
        let time = u64::try_from(at_most.as_millis()).unwrap();
        self.number(&Task::Attack { path: path.into(), attack, connections, time }, &[])?;
        Ok(AttackUnderWay(self.clone()))
    }

    /// Kills it, and waits until it is gone and its process id is free.
    #[track_caller]
    pub fn kill(&self) {
        let mut helper = self.0.lock().unwrap();
        let pid = helper.pid;
        process::signal(pid, rustix::process::Signal::KILL);
        if let Some(child) = &mut helper.child {
            child.wait().unwrap();
        }
        wait_until("the killed helper is gone", || process::stat(pid).is_none());
    }

    fn connection(&self, number: u64) -> Connection {
        Connection { helper: self.clone(), on: usize::try_from(number).unwrap() }
    }

    fn number(&self, task: &Task, descriptors: &[BorrowedFd<'_>]) -> io::Result<u64> {
        match self.perform(task, descriptors)?.0 {
            Outcome::Done { number, .. } => Ok(number),
            Outcome::Failed { errno } => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn bytes(&self, task: &Task) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        match self.perform(task, &[])? {
            (Outcome::Done { bytes, .. }, descriptors) => Ok((bytes, descriptors)),
            (Outcome::Failed { errno }, _) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn perform(
        &self,
        task: &Task,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Outcome, Vec<OwnedFd>)> {
        let helper = self.0.lock().unwrap();
        tell(&helper.socket, task, descriptors)?;
        match hear(&helper.socket)?.ok_or(io::ErrorKind::UnexpectedEof)? {
            (Outcome::Failed { errno }, _) => Err(io::Error::from_raw_os_error(errno)),
            done => Ok(done),
        }
    }
}

impl AttackUnderWay {
    /// Ends it; returns how many connections or answers there were.
    ///
    /// # Errors
    /// When it had ended before: its time was up, or the broker had ended all of its connections.
    pub fn end(self) -> io::Result<u64> {
        self.0.number(&Task::EndAttack, &[])
    }
}

impl Connection {
    /// Has it sent to.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let task = Task::Send { on: self.on, bytes: bytes.to_vec() };
        self.helper.perform(&task, descriptors).map(drop)
    }

    /// Has it received from, once.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub fn receive(&self, room: usize) -> io::Result<Received> {
        let (bytes, descriptors) = self.helper.bytes(&Task::Receive { on: self.on, room })?;
        Ok(Received { bytes, descriptors, truncated: false })
    }

    /// Asks so often, with a pause behind each answer; returns how long each took, in microseconds.
    ///
    /// # Errors
    /// When one is not answered in time.
    pub fn latencies(&self, bytes: &[u8], number: usize, pause: Duration) -> io::Result<Vec<u32>> {
        let pause = u64::try_from(pause.as_micros()).unwrap();
        let task = Task::Measure { on: self.on, bytes: bytes.to_vec(), number, pause };
        let (took, _) = self.helper.bytes(&task)?;
        Ok(took.chunks_exact(4).map(|took| u32::from_ne_bytes(took.try_into().unwrap())).collect())
    }

    /// Whether something can be read from it within a time.
    pub fn readable(&self, within: Duration) -> bool {
        let within = u64::try_from(within.as_millis()).unwrap();
        let task = Task::Readable { on: self.on, within };
        self.helper.number(&task, &[]).expect("a kept socket can be asked") != 0
    }

    /// Whether its other end hangs up within a time.
    pub fn hangs_up(&self, within: Duration) -> bool {
        let within = u64::try_from(within.as_millis()).unwrap();
        let task = Task::HangsUp { on: self.on, within };
        self.helper.number(&task, &[]).expect("a kept socket can be asked") != 0
    }

    /// Has it written to.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, bytes: &[u8]) -> io::Result<u64> {
        self.helper.number(&Task::Write { on: self.on, bytes: bytes.to_vec() }, &[])
    }

    /// Has it read from, once.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&self, room: usize) -> io::Result<Vec<u8>> {
        Ok(self.helper.bytes(&Task::Read { on: self.on, room })?.0)
    }

    /// A duplicate of it.
    ///
    /// # Errors
    /// As dup(2).
    pub fn share(&self) -> io::Result<OwnedFd> {
        let (_, descriptors) = self.helper.perform(&Task::Share { on: self.on }, &[])?;
        Ok(descriptors.into_iter().next().expect("the duplicate is given"))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A helper that was killed has closed it already.
        let _ = self.helper.perform(&Task::Close { on: self.on }, &[]);
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The helper ends when its standard input does.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(child) = &mut self.child {
            child.wait().unwrap();
        }
    }
}
