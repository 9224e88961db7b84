//! The supervisor's end: asks the process, and kills one that does not answer.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fdbroker_host::{Answer, NameService, Question};

use super::line;

/// This binary, even if its file has been replaced by a newer one.
const THIS_BINARY: &str = "/proc/self/exe";
/// No answer is longer.
const LONGEST: usize = 4096;
/// How long is waited for one that was killed.
const ENDS: Duration = Duration::from_millis(500);
const LOOKS_AGAIN: Duration = Duration::from_millis(1);

/// The machine's name service, asked by a process of its own. To be used while there is one thread.
#[derive(Default)]
pub(crate) struct ByProcess(RefCell<Option<Process>>);

struct Process {
    child: Child,
    link: UnixStream,
}

impl NameService for ByProcess {
    fn ask(&self, question: &Question, within: Duration) -> Option<Answer> {
        let mut process = self.0.borrow_mut();
        let until = Instant::now() + within;
        if process.is_none() {
            // Without one, nobody can tell: the machine's own files are looked at.
            *process = Process::start().ok();
        }
        let answer = process.as_mut()?.ask(question, until);
        if answer.is_none() {
            // Another one is started for the next question.
            *process = None;
        }
        answer
    }
}

impl Process {
    fn start() -> io::Result<Self> {
        let (link, theirs) = UnixStream::pair()?;
        let child = Command::new(THIS_BINARY)
            .arg0("fdbrokerd")
            .arg("--lookup")
            .env_remove("NOTIFY_SOCKET")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child, link })
    }

    /// `None` if it does not answer by then, or ends.
    fn ask(&mut self, question: &Question, until: Instant) -> Option<Answer> {
        self.link.write_all(line::of_question(question).as_bytes()).ok()?;
        let (mut bytes, mut more) = (Vec::new(), [0; 512]);
        while !bytes.ends_with(b"\n") && bytes.len() < LONGEST {
            let left =
                until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.link.set_read_timeout(Some(left)).ok()?;
            let length = self.link.read(&mut more).ok().filter(|length| *length > 0)?;
            bytes.extend_from_slice(more.get(..length)?);
        }
        line::to_answer(std::str::from_utf8(&bytes).ok()?.trim_end_matches('\n'))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it ends by that; one that sleeps in the kernel is left behind.
        let _ = self.child.kill();
        let until = Instant::now() + ENDS;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOKS_AGAIN);
        }
    }
}
