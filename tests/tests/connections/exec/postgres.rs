//! Unmodified programs of PostgreSQL.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use fdbroker_tests::{Postgres, process, sys, wait_until};
use rustix::process::Signal;

use super::caller::{Caller, PYTHON, has_python, text};
use crate::resource::{daemon, logged_in, tcp};
use crate::tls::{self, encrypted};

const SCRAM: &str = "host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256";
const SLOT_NAME: &str = "1/5=postgres";

/// Drivers, each with its own way to speak to a server, and a query by each.
const DRIVERS: [(&str, &str); 3] = [
    (
        "psycopg2",
        "import psycopg2\n\
         cursor = psycopg2.connect('').cursor()\n\
         query = 'SELECT current_user, sum(i) FROM generate_series(1, %s) AS i'\n\
         cursor.execute(query, (999,))\n\
         print(*cursor.fetchone())",
    ),
    (
        "asyncpg",
        "import asyncio, asyncpg\n\
         async def main():\n    \
             there = await asyncpg.connect()\n    \
             query = 'SELECT current_user::text, sum(i) FROM generate_series(1, $1::int) AS i'\n    \
             print(*await there.fetchrow(query, 999))\n    \
             await there.close()\n\
         asyncio.run(main())",
    ),
    (
        "pg8000",
        "import os, pg8000\n\
         env = os.environ\n\
         socket = env['PGHOST'] + '/.s.PGSQL.' + env['PGPORT']\n\
         there = pg8000.connect(env['PGUSER'], unix_sock=socket, database=env['PGDATABASE'])\n\
         cursor = there.cursor()\n\
         query = 'SELECT current_user, sum(i)::int FROM generate_series(1, %s) AS i'\n\
         cursor.execute(query, (999,))\n\
         print(*cursor.fetchone())",
    ),
];

/// A server, and a caller of a broker that is logged in there.
struct Setup {
    server: Postgres,
    caller: Caller,
}

impl Setup {
    fn new(what: &str) -> Option<Self> {
        let server = Postgres::start(what, SCRAM)?;
        server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2-geheim'");
        let caller = Caller::of(daemon(&tcp(server.port()), "hunter2-geheim", ""));
        Some(Self { server, caller })
    }

    /// The command `exec` with a program of PostgreSQL, or of the machine.
    fn exec(&self, program: &str, arguments: &[&str]) -> Command {
        let own = self.server.program(program);
        let program = if own.exists() { own } else { program.into() };
        let mut command = self.caller.exec(SLOT_NAME, program, arguments);
        // Names of this machine must not help.
        command.env("PGPASSWORD", "wrong").env("PGHOSTADDR", "192.0.2.1");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.exec(program, arguments).output().unwrap()
    }

    #[track_caller]
    fn says(&self, program: &str, arguments: &[&str]) -> String {
        self.caller.says(self.exec(program, arguments))
    }

    /// A psql that stays.
    fn sleeping(&self, seconds: &str) -> Child {
        let query = format!("SELECT pg_sleep({seconds})");
        let mut psql = self.exec("psql", &["-XAtc", &query]);
        let child = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the query runs", || self.queries("pg_sleep") == 1);
        child
    }

    fn queries(&self, what: &str) -> usize {
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders' AND state = 'active' \
             AND query LIKE '%{what}%'"
        );
        self.server.execute(&query).parse().unwrap()
    }

    fn sessions(&self) -> usize {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders'";
        self.server.execute(query).parse().unwrap()
    }
}

fn signal(child: &Child, signal: Signal) {
    process::signal(child.id(), signal);
}

/// The child of a command, which is the program that it runs.
fn program_of(exec: &Child) -> u32 {
    let path = format!("/proc/{0}/task/{0}/children", exec.id());
    fs::read_to_string(path).unwrap().trim().parse().expect("one child")
}

#[test]
fn an_unmodified_psql_runs_without_a_password() {
    let Some(setup) = Setup::new("an unmodified psql runs without a password") else { return };
    let query = "SELECT current_user, current_database(), current_setting('application_name')";
    assert_eq!(setup.says("psql", &["-XAtc", query]), "orders|postgres|psql");
    // Every connection gets a session of its own, also one after the other.
    let script =
        "for i in 1 2 3; do \"$0\" -XAtc 'SELECT pg_backend_pid()'; done | sort -u | wc -l";
    let psql = setup.server.program("psql");
    assert_eq!(setup.says("sh", &["-c", script, psql.to_str().unwrap()]), "3");
    assert!(setup.caller.directories().is_empty());
    assert!(!setup.caller.daemon.log().text().contains("geheim"));
    wait_until("the sessions have ended", || setup.sessions() == 0);
}

#[test]
fn a_session_that_its_client_does_not_want_leaves_its_place_to_the_next() {
    let Some(setup) = Setup::new("a session that is not wanted leaves its place") else { return };
    let policy =
        logged_in(&tcp(setup.server.port()), &setup.caller.daemon.directory().join("password"), "");
    setup.caller.daemon.reload(&format!("{policy}\nholders = 1\nwait = \"30s\"\n"));
    let script = "\"$0\" -X -U eve -c 'SELECT 1'; exec \"$0\" -XAtc 'SELECT 2'";
    let psql = setup.server.program("psql");
    assert_eq!(setup.says("sh", &["-c", script, psql.to_str().unwrap()]), "2");
}

#[test]
fn the_program_finds_a_socket_of_its_user_alone_and_no_secret() {
    let what = "the program finds a socket of its user alone, and no secret";
    let Some(setup) = Setup::new(what) else { return };
    let script = "stat -c %a \"$PGHOST\"; env";
    let said = setup.says("sh", &["-c", script]);
    assert!(said.starts_with("700\n"), "{said}");
    for line in ["PGPORT=5432", "PGUSER=orders", "PGDATABASE=postgres", "PGSSLMODE=disable"] {
        assert!(said.lines().any(|found| found == line), "{said}");
    }
    let host = said.lines().find_map(|line| line.strip_prefix("PGHOST=")).unwrap();
    assert!(Path::new(host).starts_with(&setup.caller.runtime) && !Path::new(host).exists());
    assert!(!said.contains("geheim") && !said.contains("PGHOSTADDR"));
    let mut prefixed = setup.caller.daemon.command(&["exec", "1/5=postgres:ORDERS_", "--", "env"]);
    let output = prefixed.env("XDG_RUNTIME_DIR", &setup.caller.runtime).output().unwrap();
    assert!(text(&output.stdout).contains("\nORDERS_PGUSER=orders\n"), "{output:?}");
}

#[test]
fn the_drivers_of_python_run_as_they_are() {
    let what = "the drivers of Python run as they are";
    let Some(setup) = Setup::new(what) else { return };
    for (module, script) in DRIVERS {
        if has_python(what, module) {
            assert_eq!(setup.says(PYTHON, &["-c", script]), "orders 499500", "{module}");
        }
    }
}

#[test]
fn pgbench_runs_with_fifty_connections_at_once() {
    let Some(setup) = Setup::new("pgbench runs with 50 connections at once") else { return };
    setup.server.execute("GRANT CREATE ON SCHEMA public TO orders");
    setup.says("pgbench", &["-i", "-q", "-s", "1"]);
    let said = setup.says("pgbench", &["-n", "-S", "-c", "50", "-j", "2", "-t", "20"]);
    assert!(said.contains("number of transactions actually processed: 1000/1000"), "{said}");
    // And in the extended protocol.
    let said = setup.says("pgbench", &["-n", "-M", "prepared", "-c", "4", "-t", "20"]);
    assert!(said.contains("processed: 80/80"), "{said}");
}

#[test]
fn large_results_and_copies_go_through_whole() {
    let Some(setup) = Setup::new("large results and copies go through whole") else { return };
    let query = "SELECT md5(i::text) FROM generate_series(1, 200000) AS i";
    let said = setup.says("psql", &["-XAtc", query]);
    assert_eq!(said.lines().count(), 200_000);
    let script = "seq 300000 | \"$0\" -XAt -c 'CREATE TEMP TABLE t (n int)' -c '\\copy t from pstdin' \
                  -c 'SELECT sum(n) FROM t'";
    let psql = setup.server.program("psql");
    let said = setup.says("sh", &["-c", script, psql.to_str().unwrap()]);
    assert!(said.ends_with("45000150000"), "{said}");
}

/// Has psql cancel its query, and looks at what it says then.
#[track_caller]
fn cancels(setup: &Setup) {
    let mut child = setup.sleeping("60");
    // The program is sent what the command is sent; psql cancels its query then.
    signal(&child, Signal::INT);
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("canceling statement due to user request"), "{said}");
    assert_eq!(status.code(), Some(1));
    assert!(setup.caller.directories().is_empty());
}

#[test]
fn a_cancel_request_reaches_the_server() {
    let Some(setup) = Setup::new("a cancel request reaches the server") else { return };
    cancels(&setup);
}

#[test]
fn an_unmodified_psql_runs_over_an_encrypted_session() {
    let what = "an unmodified psql runs over an encrypted session";
    let Some((authority, server)) = encrypted(what) else { return };
    let caller = Caller::of(tls::daemon(&server, &authority.certificate(), ""));
    let setup = Setup { server, caller };
    let query = "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE pid = pg_backend_pid()";
    assert_eq!(setup.says("psql", &["-XAtc", query]), "orders|t");
    // The server takes a cancel request without TLS, too: it has the key.
    cancels(&setup);
}

#[test]
fn an_interrupt_at_the_terminal_reaches_the_program_alone() {
    let what = "an interrupt at the terminal reaches the program alone";
    let Some(setup) = Setup::new(what) else { return };
    let (keyboard, screen) = sys::terminal().unwrap();
    let mut keyboard = File::from(keyboard);
    let mut psql = setup.exec("psql", &["-XAtc", "SELECT pg_sleep(60)"]);
    psql.stdin(screen.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    sys::on_terminal(&mut psql, screen);
    let mut child = psql.spawn().unwrap();
    wait_until("the query runs", || setup.queries("pg_sleep") == 1);
    // Control and C.
    keyboard.write_all(b"\x03").unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("canceling statement due to user request").count(), 1, "{said}");
    assert_eq!(status.code(), Some(1), "the command has waited for its program");
    assert!(setup.caller.directories().is_empty());
}

#[test]
fn another_user_or_database_is_refused_with_a_sentence() {
    let what = "another user or database is refused with a sentence";
    let Some(setup) = Setup::new(what) else { return };
    for (arguments, expected) in [
        (["-U", "eve"], "the session is that of user \"orders\", not of \"eve\""),
        (["-d", "other"], "the session is that of database \"postgres\", not of \"other\""),
    ] {
        let output = setup.run("psql", &["-Xc", "SELECT 1", arguments[0], arguments[1]]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    let mut psql = setup.exec("psql", &["-Xc", "SELECT 1"]);
    let output = psql.env("PGOPTIONS", "-c work_mem=1MB").output().unwrap();
    assert!(text(&output.stderr).contains("PGOPTIONS has no effect; use SET"), "{output:?}");
    // What the server does not let it set is told in the server's words.
    let mut psql = setup.exec("psql", &["-Xc", "SELECT 1"]);
    let output = psql.env("PGCLIENTENCODING", "no-such").output().unwrap();
    assert!(text(&output.stderr).contains("client_encoding"), "{output:?}");
}

#[test]
fn the_reason_of_the_broker_is_told_to_the_client() {
    let Some(setup) = Setup::new("the reason of the broker is told to the client") else { return };
    // The first session is there before the program; the second one is refused.
    let script = "\"$0\" -XAtc 'SELECT 1'; kill -STOP $$; \"$0\" -XAtc 'SELECT 2'";
    let psql = setup.server.program("psql");
    let mut exec = setup.exec("sh", &["-c", script, psql.to_str().unwrap()]);
    let child = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the program has its first answer", || {
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let shell = fs::read_to_string(children).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", shell.trim()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    });
    setup.server.set_access("host all all 127.0.0.1/32 reject");
    process::signal(program_of(&child), Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "1\n");
    let said = text(&output.stderr);
    assert!(said.contains("FATAL:  fdbroker: get 1/5"), "{said}");
    assert!(said.contains("the resource cannot be opened"), "{said}");
    assert!(!said.contains("pg_hba"), "the server's words are the administrator's: {said}");
    // And at the very start it is the command's own failure.
    let output = setup.run("true", &[]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn the_command_ends_as_its_program_does_and_leaves_nothing() {
    let what = "the command ends as its program does, and leaves nothing";
    let Some(setup) = Setup::new(what) else { return };
    assert_eq!(setup.run("sh", &["-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(setup.run("sh", &["-c", "kill -KILL $$"]).status.code(), Some(128 + 9));
    assert_eq!(setup.run("/nonexistent/program", &[]).status.code(), Some(127));
    for sent in [Signal::TERM, Signal::HUP, Signal::USR1] {
        let mut child = setup.sleeping("60");
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(128 + sent.as_raw()));
        wait_until("the query has ended with its program", || {
            setup.server.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND usename = 'orders'");
            setup.queries("pg_sleep") == 0
        });
    }
    // A program that is killed behind the command's back.
    let mut child = setup.sleeping("60");
    process::signal(program_of(&child), Signal::KILL);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
    assert!(setup.caller.directories().is_empty());
}

#[test]
fn a_slot_that_is_no_database_is_not_relayed() {
    let what = "a slot that is no database is not relayed";
    let Some(setup) = Setup::new(what) else { return };
    let content = setup.caller.daemon.directory().file("content", "x", 0o644);
    setup.caller.daemon.says(&["add", "1/0", "--payload", content.to_str().unwrap()]);
    let said = setup.caller.daemon.complains(8, &["exec", "1/0=postgres", "--", "true"]);
    assert!(said.contains("holds no connection to a server"), "{said}");
    let twice = ["exec", SLOT_NAME, SLOT_NAME, "--", "true"];
    assert!(setup.caller.daemon.complains(2, &twice).contains("name a prefix"));
    let mixed = ["exec", SLOT_NAME, "1/0", "--", "true"];
    assert!(setup.caller.daemon.complains(2, &mixed).contains("cannot be combined"));
}
