//! Programs of the operator's that log in, from outside: one is started with the socket of a connection, and what comes
//! of it is its exit status.
//!
//! Nothing that it has started is left when the socket is handed on: no process leaves its group, and the whole group is
//! killed. What it writes is bounded, and believed as little as what a helper answers.

mod output;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use fdbroker_host::program_fault;
use fdbroker_policy::{ProgramAuth, Uid};
use fdbroker_types::quoted;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, geteuid, kill_process_group, pidfd_open, test_kill_process_group,
};

use self::output::Output;
use super::abandonment::Abandonment;
use super::helper::{Helpers, is_connection};
use crate::helper::answer::{Answer, Failure, MAX_ANSWER, Step};
use crate::look::timespec;
use crate::program::order::ProgramOrder;
use crate::sys::receive::receive;

/// The most that a program may write for the payload.
pub(crate) const MAX_OUTPUT: usize = 16 * 1024;
/// How much of its words is repeated, in bytes.
const SHOWN: usize = 200;
/// How long the processes of a group may take to be gone after SIGKILL. They run no more in any case.
const AFTER_KILL: Duration = Duration::from_millis(100);
const MOMENT: Duration = Duration::from_millis(1);

/// One that runs.
struct Running {
    /// It closes when the program begins; until then it can say why it does not.
    link: Option<OwnedFd>,
    process: Child,
    ends: OwnedFd,
    output: Output,
    errors: Output,
}

impl Helpers {
    /// Has a program log in on a connection; returns what it wrote for the payload. Blocks until then.
    ///
    /// # Errors
    /// Why it has not, in time.
    pub(crate) fn have_program_log_in(
        &self,
        auth: &ProgramAuth,
        socket: &OwnedFd,
        password: Option<&OwnedFd>,
        (until, abandonment): (Instant, &Abandonment),
    ) -> Result<Vec<u8>, Failure> {
        let owner = Uid(geteuid().as_raw());
        if let Some(fault) = program_fault(Path::new(auth.path()), owner) {
            return failed(format!("the program is not started: {fault}"));
        }
        let _counted = self.at_work();
        let begins = |error: io::Error| Failure::new(Step::Begin, error.to_string());
        let mut running = self.begin(auth, socket, password).map_err(begins)?;
        let outcome = running.wait_unless_abandoned(until, abandonment);
        let Running { mut process, output, errors, .. } = running.end_group();
        let group = Pid::from_child(&process);
        let status = process.try_wait().ok().flatten();
        if status.is_none() {
            self.end(process);
        }
        wait_for_group(group);
        outcome?;
        let status = status.ok_or_else(|| Failure::new(Step::LogIn, "the program does not end"))?;
        succeeded(status, &errors, password.is_some())?;
        is_usable(socket)?;
        output.whole().map_or_else(|| failed(too_much()), Ok)
    }

    fn begin(
        &self,
        auth: &ProgramAuth,
        socket: &OwnedFd,
        password: Option<&OwnedFd>,
    ) -> io::Result<Running> {
        let account = self.account();
        let order =
            ProgramOrder { account, command: auth.command.clone(), user: auth.user.clone() };
        let bytes = order.to_bytes().map_err(|_| io::ErrorKind::InvalidInput)?;
        let (output, writes_output) = Output::new(MAX_OUTPUT)?;
        let (errors, writes_errors) = Output::new(SHOWN)?;
        let mut passed = vec![socket.as_fd(), writes_output.as_fd(), writes_errors.as_fd()];
        passed.extend(password.map(AsFd::as_fd));
        let (link, process) = self.launch("--program", &bytes, &passed)?;
        match pidfd_open(Pid::from_child(&process), PidfdFlags::empty()) {
            Ok(ends) => Ok(Running { link: Some(link), process, ends, output, errors }),
            Err(error) => {
                self.end(process);
                Err(error.into())
            }
        }
    }
}

impl Running {
    /// Waits for its end, and reads what it writes.
    fn wait(&mut self, until: Instant) -> Result<(), Failure> {
        loop {
            let [link, ends, output, errors] = self.look(until)?;
            if link {
                self.hear()?;
            }
            if output {
                self.output.take_in();
            }
            if errors {
                self.errors.take_in();
            }
            if self.output.is_cut() {
                return failed(too_much());
            }
            if ends {
                return Ok(());
            }
        }
    }

    /// Waits, until nobody does any more.
    fn wait_unless_abandoned(
        &mut self,
        until: Instant,
        abandonment: &Abandonment,
    ) -> Result<(), Failure> {
        let making = abandonment.program(self.ends.as_fd());
        let _making = making.map_err(|error| Failure::new(Step::LogIn, error.to_string()))?;
        self.wait(until)
    }

    /// Waits until something happens. Returns what: at its link, its end, and at what it writes.
    fn look(&self, until: Instant) -> Result<[bool; 4], Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::timed_out(Step::LogIn, "the program has not ended"));
        }
        let places = [
            self.link.as_ref().map(AsFd::as_fd),
            Some(self.ends.as_fd()),
            self.output.waits(),
            self.errors.waits(),
        ];
        // Where there is nothing to wait for, the end stands in, and is not looked at.
        let mut asked = places.map(|place| {
            PollFd::from_borrowed_fd(place.unwrap_or(self.ends.as_fd()), PollFlags::IN)
        });
        match poll(&mut asked, Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::new(Step::Begin, error.to_string())),
        }
        let happened = asked.map(|asked| !asked.revents().is_empty());
        let mut there = places.into_iter().map(|place| place.is_some());
        Ok(happened.map(|happened| there.next() == Some(true) && happened))
    }

    /// Hears why there is no program, or that there is one.
    fn hear(&mut self) -> Result<(), Failure> {
        let Some(link) = self.link.take() else { return Ok(()) };
        let mut bytes = vec![0; MAX_ANSWER];
        let received = receive(link.as_fd(), &mut bytes, |descriptor| descriptor);
        let received = received.map_err(|error| Failure::new(Step::Begin, error.to_string()))?;
        match bytes.get(..received.length) {
            // It closes with execve(2).
            None | Some([]) => Ok(()),
            Some(answer) => Err(match Answer::from_bytes(answer) {
                Some(Answer::Failed(failure)) => failure,
                _ => Failure::new(Step::Begin, "the program did not begin".to_owned()),
            }),
        }
    }

    /// Kills it and all that it has started, and reads what is still unread.
    fn end_group(mut self) -> Self {
        // It was its leader when it began, and has not been reaped: the number is no other group's.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let until = Instant::now() + AFTER_KILL;
        while self.output.take_in() && Instant::now() < until {}
        while self.errors.take_in() && Instant::now() < until {}
        self
    }
}

/// Waits until those that a program has left behind are gone, too. Their last end is init's to see.
fn wait_for_group(group: Pid) {
    let until = Instant::now() + AFTER_KILL;
    while test_kill_process_group(group).is_ok() && Instant::now() < until {
        std::thread::sleep(MOMENT);
    }
}

/// What its end means. Its words are not shown if it knows a password.
fn succeeded(status: ExitStatus, errors: &Output, knows_password: bool) -> Result<(), Failure> {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("the program ended with status {code}"),
        (None, Some(signal)) => format!("the program was ended by signal {signal}"),
        (None, None) => "the program has not ended by itself".to_owned(),
    };
    failed(match errors.first_line() {
        [] => how,
        _ if knows_password => {
            format!("{how} (its message is not shown: the program knows the password)")
        }
        line => format!("{how}, and says {}", quoted(OsStr::from_bytes(line))),
    })
}

/// Sees that the connection is still one, and blocks, whatever the program has made of it.
fn is_usable(socket: &OwnedFd) -> Result<(), Failure> {
    if !is_connection(socket) {
        return failed("the connection has ended when the program ends".to_owned());
    }
    fcntl_getfl(socket)
        .and_then(|flags| fcntl_setfl(socket, flags - OFlags::NONBLOCK))
        .map_err(|error| Failure::new(Step::Begin, error.to_string()))
}

fn too_much() -> String {
    format!("the program writes more than {MAX_OUTPUT} bytes for the payload")
}

fn failed<T>(text: String) -> Result<T, Failure> {
    Err(Failure::new(Step::LogIn, text))
}
