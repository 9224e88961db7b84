//! Sessions that last: serial tags, and a broker that is restarted.

use super::*;

/// A program that is led through its standard input.
struct Led {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Led {
    fn new(task: &str, socket: &Path) -> Self {
        let mut command = program([task, "1"], socket);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    #[track_caller]
    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    fn step(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    fn is_silent(&self) -> bool {
        self.output.buffer().is_empty() && !sys::readable(self.output.get_ref(), MEANWHILE)
    }

    #[track_caller]
    fn ends(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn the_next_program_waits_until_the_one_that_holds_a_serial_tag_has_ended() {
    let daemon = Daemon::with_policy(&fixtures::serial()).start();
    let mut first = Led::new("turn", daemon.socket());
    first.says("asking");
    first.says("has it");
    let mut second = Led::new("turn", daemon.socket());
    second.says("asking");
    assert!(second.is_silent(), "the first one is still there");
    first.ends();
    second.says("has it");
    second.ends();
}

#[test]
fn a_number_that_is_a_strangers_by_now_is_left_alone() {
    let daemon = Daemon::open().start();
    succeed(&mut program(["closed", "1"], daemon.socket()));
}

#[test]
fn a_child_after_fork_is_told_that_the_session_is_not_its_own() {
    let daemon = Daemon::open().start();
    succeed(&mut program(["forked", "1"], daemon.socket()));
}

#[test]
fn a_session_outlives_the_worker_and_the_whole_broker() {
    let policy = fixtures::OPEN;
    let place = Directory::new();
    let socket = place.join("socket");
    let start = || Daemon::with_policy(policy).socket(socket.clone()).start();
    let mut daemon = start();
    let mut program = Led::new("steps", &socket);
    program.says("added");
    daemon.kill_worker();
    program.step();
    program.says("0");
    // The program asks while nobody listens; it is answered by the next broker, whose slots are empty.
    daemon.kill_both();
    program.step();
    let next = start();
    program.says(&(-libc::ENOENT).to_string());
    // And when none comes back, it is told, and SIGPIPE does not end it.
    daemon = next;
    daemon.kill_both();
    for _ in 0..2 {
        program.step();
        program.says(&(-libc::ECONNREFUSED).to_string());
    }
    program.ends();
}
