//! Unmodified programs of Redis.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use fdbroker_tests::{Daemon, Redis, wait_until};

use super::caller::{Caller, PYTHON, has_python, text};
use crate::redis::{ORDERS, daemon};
use crate::resource::{connecting, server, tcp};

const SLOT_NAME: &str = "1/5=redis";

/// A server, and a caller of a broker that is logged in there.
pub struct Setup {
    server: Redis,
    pub caller: Caller,
}

impl Setup {
    pub fn new(what: &str) -> Option<Self> {
        let server = Redis::start(what, &ORDERS)?;
        let keys = "user = \"orders\", database = 3";
        let caller = Caller::of(daemon(&tcp(server.port()), Some("hunter2-geheim\n"), keys));
        Some(Self { server, caller })
    }

    pub fn exec(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.caller.exec(SLOT_NAME, program, arguments);
        // No secret of this machine must help.
        command.env("REDISCLI_AUTH", "wrong");
        command
    }

    #[track_caller]
    pub fn says(&self, program: &str, arguments: &[&str]) -> String {
        self.caller.says(self.exec(program, arguments))
    }

    /// What redis-cli says to a command.
    #[track_caller]
    fn cli(&self, arguments: &[&str]) -> String {
        self.says("redis-cli", &[&["-s", "{}"], arguments].concat())
    }

    /// What a client hears that sends these lines at once, and then QUIT.
    #[track_caller]
    fn hears(&self, lines: &[&str]) -> String {
        let script = "import os, socket, sys\n\
            there = socket.socket(socket.AF_UNIX)\n\
            there.connect(os.environ['REDIS_SOCKET'])\n\
            there.sendall(b''.join(map(os.fsencode, sys.argv[1:])))\n\
            while said := there.recv(4096): sys.stdout.buffer.write(said)";
        let sent: Vec<_> = lines.iter().chain(&["QUIT"]).map(|line| command(line)).collect();
        let sent: Vec<_> = sent.iter().map(String::as_str).collect();
        self.says(PYTHON, &[&["-c", script], &sent[..]].concat())
    }

    /// How many sessions of the broker's the server has.
    pub fn sessions(&self) -> usize {
        let mut cli = Command::new("redis-cli");
        let output = cli.arg("-s").arg(self.server.socket()).args(["CLIENT", "LIST"]).output();
        text(&output.unwrap().stdout).matches(" user=orders ").count()
    }
}

/// A command in the bytes of a client.
fn command(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let text = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), text.collect::<String>())
}

#[test]
fn an_unmodified_redis_cli_runs_without_a_password() {
    let Some(setup) = Setup::new("an unmodified redis-cli runs without a password") else { return };
    assert_eq!(setup.cli(&["ACL", "WHOAMI"]), "orders");
    let info = setup.cli(&["CLIENT", "INFO"]);
    assert!(info.contains(" db=3 ") && info.contains(" resp=2"), "{info}");
    let info = setup.cli(&["-3", "CLIENT", "INFO"]);
    assert!(info.contains(" resp=3"), "{info}");
    assert_eq!(setup.cli(&["-n", "5", "SET", "orders", "7"]), "OK");
    assert_eq!(setup.cli(&["-n", "5", "GET", "orders"]), "7");
    assert_eq!(setup.cli(&["GET", "orders"]), "");
    let large = "x".repeat(100_000);
    assert_eq!(setup.cli(&["SET", "large", &large]), "OK");
    assert_eq!(setup.cli(&["GET", "large"]), large);
    assert!(setup.caller.directories().is_empty());
    assert!(!setup.caller.daemon.log().text().contains("geheim"));
    wait_until("the sessions have ended", || setup.sessions() == 0);
}

#[test]
fn the_program_is_told_the_socket_by_name_and_by_argument() {
    let what = "the program is told the socket by name and by argument";
    let Some(setup) = Setup::new(what) else { return };
    let script = "stat -c %a \"${0%/*}\"; echo \"$0 $1\"; env";
    let said = setup.says("sh", &["-c", script, "{}", "a={};b={}"]);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("700"));
    let (path, argument) = lines.next().unwrap().split_once(' ').unwrap();
    assert!(Path::new(path).starts_with(&setup.caller.runtime) && !Path::new(path).exists());
    assert_eq!(argument, format!("a={path};b={path}"));
    for line in [format!("REDIS_SOCKET={path}"), format!("REDIS_URL=unix://{path}")] {
        assert!(said.lines().any(|found| found == line), "{said}");
    }
    assert!(!said.contains("REDISCLI_AUTH") && !said.contains("geheim"), "{said}");
    let prefixed = setup.caller.exec("1/5=redis:CACHE_", "env", &["A={CACHE_}", "B={}", "env"]);
    let said = setup.caller.says(prefixed);
    let path = said.lines().find_map(|line| line.strip_prefix("CACHE_REDIS_SOCKET=")).unwrap();
    assert!(said.contains(&format!("\nA={path}\n")) && said.ends_with("\nB={}"), "{said}");
}

#[test]
fn redis_benchmark_runs_with_fifty_connections_at_once() {
    let what = "redis-benchmark runs with 50 connections at once";
    let Some(setup) = Setup::new(what) else { return };
    let benchmark = ["-s", "{}", "-c", "50", "-n", "2000", "-P", "4", "-t", "set,get", "-q"];
    let said = setup.says("redis-benchmark", &benchmark);
    assert!(said.contains("SET: ") && said.contains("GET: "), "{said}");
    assert!(said.contains("requests per second") && !said.contains("Error"), "{said}");
}

#[test]
fn a_log_in_is_answered_and_no_password_is_looked_at() {
    let what = "a log-in is answered, and no password is looked at";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    let log_ins = ["AUTH anything", "auth orders anything", "AUTH eve anything", "ACL WHOAMI"];
    let other = "-WRONGPASS fdbroker: the session is that of user \"orders\", not of \"eve\"";
    let expected = format!("+OK\r\n+OK\r\n{other}\r\n$6\r\norders\r\n+OK");
    assert_eq!(setup.hears(&log_ins), expected);
    let hello = ["HELLO 3 AUTH eve x", "HELLO 3 AUTH orders x SETNAME shop", "CLIENT INFO"];
    let said = setup.hears(&hello);
    assert!(said.starts_with(&format!("{other}\r\n%7\r\n$6\r\nserver\r\n")), "{said}");
    assert!(said.contains(" name=shop ") && said.contains(" resp=3"), "{said}");
    let after = ["HELLO 2", "AUTH anything", "HELLO 3", "AUTH orders anything", "ACL WHOAMI"];
    let said = setup.hears(&after);
    assert!(said.starts_with("*14\r\n") && said.ends_with("+OK\r\n$6\r\norders\r\n+OK"), "{said}");
    assert_eq!(said.matches("+OK\r\n").count(), 2, "{said}");
    let log = setup.cli(&["ACL", "LOG"]);
    assert_eq!(log, "", "the server has heard of a log-in");
}

#[test]
fn redis_py_runs_as_it_is() {
    let what = "redis-py runs as it is";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "redis") {
        return;
    }
    let script = "import os, redis\n\
        there = redis.from_url(os.environ['REDIS_URL'], password='unused', client_name='shop')\n\
        with there.pipeline() as pipeline:\n    \
            print(pipeline.set('orders', 7).incr('orders').execute())\n\
        heard = there.pubsub()\n\
        heard.subscribe('news')\n\
        print(heard.get_message(timeout=30)['type'])\n\
        there.publish('news', 'it works')\n\
        print(heard.get_message(timeout=30)['data'].decode())\n\
        print(there.client_getname())";
    let said = setup.says(PYTHON, &["-c", script]);
    assert_eq!(said, "[True, 8]\nsubscribe\nit works\nshop");
}

#[test]
fn the_reason_of_the_broker_is_told_to_the_client_of_redis() {
    let what = "the reason of the broker is told to the client of Redis";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    let password = setup.caller.daemon.directory().join("password");
    let auth = format!(
        "auth = {{ redis = {{ user = \"orders\", password = \"file:{}\" }} }}",
        password.display()
    );
    let policy = connecting(&tcp(setup.server.port()), &auth);
    setup.caller.daemon.reload(&format!("{policy}\nholders = 1\nwait = \"100ms\"\n"));
    let script = "import os, socket\n\
        for there in [socket.socket(socket.AF_UNIX) for _ in range(2)]:\n    \
            there.connect(os.environ['REDIS_SOCKET'])\n    \
            there.sendall(b'PING\\r\\n')\n    \
            print(there.recv(4096).decode().strip())";
    let said = setup.says(PYTHON, &["-c", script]);
    let (first, second) = said.split_once('\n').unwrap();
    assert_eq!(first, "+PONG");
    assert!(second.starts_with("-ERR fdbroker: get 1/5") && !second.contains("geheim"), "{said}");
}

#[test]
fn a_database_is_not_taken_for_redis() {
    let Some(setup) = Setup::new("a database is not taken for Redis") else { return };
    let said = setup.caller.daemon.complains(8, &["exec", "1/5=postgres", "--", "true"]);
    assert!(said.contains("speaks \"redis\", not postgres"), "{said}");
}

#[test]
fn a_descriptor_whose_name_reads_like_its_protocol_is_pointed_out() {
    let what = "a descriptor whose name reads like its protocol is pointed out";
    let Some(setup) = Setup::new(what) else { return };
    let said = |wanted| setup.caller.daemon.run(&["exec", wanted, "--", "true"]);
    let misspelt = said("1/5=reddis");
    assert_eq!(misspelt.status, 0, "{misspelt:?}");
    assert!(misspelt.err.contains("note: 1/5: \"reddis\" is only the name"), "{misspelt:?}");
    assert!(misspelt.err.contains("write =redis"), "{misspelt:?}");
    assert_eq!(said("1/5=sessions").err, "");
}

#[test]
fn a_descriptor_that_nobody_named_is_pointed_out_where_a_relay_is_meant() {
    let what = "a descriptor that nobody named is pointed out";
    let Some(setup) = Setup::new(what) else { return };
    let said = |wanted| setup.caller.daemon.run(&["exec", wanted, "--", "true"]);
    for given in ["1/5", "orders"] {
        let unnamed = said(given);
        assert_eq!(unnamed.status, 0, "{unnamed:?}");
        let note =
            "note: 1/5: the connection speaks redis, and the program gets it as a descriptor";
        assert!(unnamed.err.contains(note), "{unnamed:?}");
        assert!(unnamed.err.contains(&format!("write {given}=redis;")), "{unnamed:?}");
    }
}

#[test]
fn bytes_that_the_program_does_not_get_are_pointed_out() {
    let port = server(|mut stream| {
        // The broker may have gone.
        let _ = stream.write_all(b"+OK\r\nhello");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let script = "auth.script = { protocol = \"lines\", steps = [\"expect:+OK\"] }";
    let daemon = Daemon::open().policy(&connecting(&tcp(port), script)).start();
    let said = daemon.run(&["exec", "1/5", "--", "true"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.err.contains("does not get the first 5 bytes of the server"), "{said:?}");
}

#[test]
fn a_redis_cli_that_is_not_told_the_socket_is_not_run() {
    let Some(setup) = Setup::new("a redis-cli that is not told the socket is not run") else {
        return;
    };
    for program in ["redis-cli", "/usr/bin/redis-benchmark"] {
        let output = setup.exec(program, &["PING"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("would go to its default server; write redis-"), "{said}");
        assert!(said.contains(" -s {}"), "{said}");
    }
}
