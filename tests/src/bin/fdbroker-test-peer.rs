//! The helper that acts as somebody else; see the library's `helper_protocol`. It has one thread and does
//! one task after the other until its standard input ends.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use fdbroker_tests::helper_protocol::{Outcome, Task, hear, tell};
use fdbroker_tests::hostile::{Attack, Course};
use fdbroker_tests::{PATIENCE, hostile, sys};

fn main() {
    let stdin = io::stdin();
    let mut kept = Kept::default();
    while let Some((task, brought)) = hear::<Task>(&stdin).expect("the test speaks to its helper") {
        if let Task::Attack { path, attack, connections, time } = task {
            let time = Duration::from_millis(time);
            kept.attack(&stdin, attack, &path, connections, time);
            continue;
        }
        let mut given = Vec::new();
        let outcome = kept.perform(task, brought, &mut given);
        let given: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
        answer(&stdin, outcome, &given);
    }
}

fn answer(stdin: &io::Stdin, outcome: io::Result<Outcome>, given: &[BorrowedFd<'_>]) {
    let outcome = outcome.unwrap_or_else(|error| Outcome::failed(&error));
    tell(stdin, &outcome, given).expect("the test listens to its helper");
}

/// What the helper keeps from task to task.
#[derive(Default)]
struct Kept {
    /// The descriptors that it was told to keep; a place is never used again.
    descriptors: Vec<Option<OwnedFd>>,
    /// The result of the last attack.
    attack: Option<io::Result<u64>>,
}

impl Kept {
    /// Attacks until something else is to be done; answers when it has begun, or that it could not.
    fn attack(
        &mut self,
        stdin: &io::Stdin,
        attack: Attack,
        path: &Path,
        connections: usize,
        time: Duration,
    ) {
        sys::raise_descriptors();
        let mut has_begun = false;
        let mut begun = || {
            has_begun = true;
            answer(stdin, Ok(Outcome::nothing()), &[]);
        };
        let course = Course::new(stdin.as_fd(), time, &mut begun);
        match attack.run(path, connections, course) {
            // If a copy of this process has begun, the test hears of this end nevertheless.
            Err(error) if !has_begun => answer(stdin, Err(error), &[]),
            ended => self.attack = Some(ended),
        }
    }

    fn perform(
        &mut self,
        task: Task,
        brought: Vec<OwnedFd>,
        given: &mut Vec<OwnedFd>,
    ) -> io::Result<Outcome> {
        match task {
            Task::Become(ids) => sys::become_user(&ids).map(|()| Outcome::nothing()),
            Task::Connect { path, bound } => {
                let socket = sys_connect(&path, bound.as_deref())?;
                Ok(self.keep(socket))
            }
            Task::Keep => Ok(self.keep(first(brought)?)),
            Task::Send { on, bytes } => {
                let brought: Vec<_> = brought.iter().map(AsFd::as_fd).collect();
                sys::send_all(self.at(on)?, &bytes, &brought).map(|()| Outcome::nothing())
            }
            Task::Receive { on, room } => {
                let received = sys::receive(self.at(on)?, room)?;
                given.extend(received.descriptors);
                Ok(Outcome::bytes(received.bytes))
            }
            Task::Readable { on, within } => {
                let found = sys::readable(self.at(on)?, Duration::from_millis(within));
                Ok(Outcome::number(found.into()))
            }
            Task::HangsUp { on, within } => {
                let found = sys::hangs_up(self.at(on)?, Duration::from_millis(within));
                Ok(Outcome::number(found.into()))
            }
            Task::Write { on, bytes } => {
                let written = rustix::io::write(self.at(on)?, &bytes)?;
                Ok(Outcome::number(written as u64))
            }
            Task::Read { on, room } => {
                let mut bytes = vec![0; room];
                let length = rustix::io::read(self.at(on)?, &mut bytes)?;
                bytes.truncate(length);
                Ok(Outcome::bytes(bytes))
            }
            Task::Close { on } => {
                self.descriptors[on] = None;
                Ok(Outcome::nothing())
            }
            Task::Share { on } => {
                given.push(self.at(on)?.try_clone_to_owned()?);
                Ok(Outcome::nothing())
            }
            Task::Open { path, write } => {
                given.push(OpenOptions::new().read(true).write(write).open(path)?.into());
                Ok(Outcome::nothing())
            }
            Task::LimitDescriptors { pid, soft } => {
                sys::limit_descriptors(pid, soft).map(Outcome::number)
            }
            // Answered before it is over: see `attack`.
            Task::Attack { .. } => Err(io::ErrorKind::InvalidInput.into()),
            Task::EndAttack => {
                let ended = self.attack.take();
                ended.ok_or(io::ErrorKind::InvalidInput)?.map(Outcome::number)
            }
            Task::Measure { on, bytes, number, pause } => {
                let pause = Duration::from_micros(pause);
                let took = hostile::latencies(self.at(on)?, &bytes, number, pause)?;
                Ok(Outcome::bytes(took.into_iter().flat_map(u32::to_ne_bytes).collect()))
            }
            Task::StartWithPid { pid, program } => {
                let program = std::ffi::CString::new(program.as_os_str().as_bytes())?;
                sys::start_with_pid(pid, &program, first(brought)?).map(|()| Outcome::nothing())
            }
        }
    }

    fn keep(&mut self, descriptor: OwnedFd) -> Outcome {
        self.descriptors.push(Some(descriptor));
        Outcome::number(self.descriptors.len() as u64 - 1)
    }

    fn at(&self, place: usize) -> io::Result<BorrowedFd<'_>> {
        let kept = self.descriptors.get(place).and_then(Option::as_ref).map(AsFd::as_fd);
        kept.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }
}

fn first(brought: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    brought.into_iter().next().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

fn sys_connect(path: &Path, bound: Option<&Path>) -> io::Result<OwnedFd> {
    let socket = fdbroker_tests::socket::connected(path, bound)?;
    sys::receive_timeout(&socket, PATIENCE);
    Ok(socket)
}
