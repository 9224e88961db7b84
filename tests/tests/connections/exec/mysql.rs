//! Unmodified programs of MySQL and MariaDB.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fdbroker_tests::{MariaDb, process, skip, wait_until};
use rustix::process::Signal;

use super::caller::{Caller, PYTHON, has_python, text};
use crate::mysql::{NATIVE, STATEMENTS, daemon};
use crate::resource::tcp;

const SLOT_NAME: &str = "1/5=mysql";

/// A server, and a caller of a broker that is logged in there.
struct Setup {
    _server: MariaDb,
    caller: Caller,
}

impl Setup {
    fn new(what: &str) -> Option<Self> {
        if Command::new("mysql").arg("--version").output().is_err() {
            skip(what, "there is no client of MySQL (mariadb-client)");
            return None;
        }
        let more = [
            "GRANT ALL ON shop.* TO orders@'%';",
            "CREATE TABLE shop.stock (name VARCHAR(100)) CHARACTER SET utf8mb4;",
            "CREATE DATABASE other;",
        ];
        let server = MariaDb::start(what, &[&STATEMENTS[..], &more].concat())?;
        let keys = format!("user = \"orders\", database = \"shop\", {NATIVE}");
        let caller = Caller::of(daemon(&tcp(server.port()), Some("hunter2-geheim\n"), &keys));
        Some(Self { _server: server, caller })
    }

    fn exec(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.caller.exec(SLOT_NAME, program, arguments);
        // Names of this machine must not help.
        command
            .env("MYSQL_PWD", "wrong")
            .env("MYSQL_HOST", "192.0.2.1")
            .env("HOME", "/nonexistent");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.exec(program, arguments).output().unwrap()
    }

    #[track_caller]
    fn says(&self, program: &str, arguments: &[&str]) -> String {
        self.caller.says(self.exec(program, arguments))
    }

    /// What the client says to a query.
    #[track_caller]
    fn query(&self, arguments: &[&str], query: &str) -> String {
        self.says("mysql", &[&["-BN"], arguments, &["-e", query]].concat())
    }
}

#[test]
fn an_unmodified_mysql_runs_without_a_password() {
    let what = "an unmodified mysql runs without a password";
    let Some(setup) = Setup::new(what) else { return };
    assert_eq!(setup.query(&[], "SELECT CURRENT_USER(), DATABASE()"), "orders@%\tshop");
    // Several statements, other character sets, and a password that nobody looks at.
    assert_eq!(setup.query(&["--password=any"], "SELECT 1; SELECT 2"), "1\n2");
    let set = "SELECT @@character_set_client, @@character_set_results";
    let latin = "--default-character-set=latin1";
    assert_eq!(setup.query(&[latin], set), "latin1\tlatin1");
    let insert = "INSERT INTO stock VALUES ('gr\u{fc}n \u{1f333}'); SELECT name FROM stock";
    assert_eq!(setup.query(&["--default-character-set=utf8mb4"], insert), "gr\u{fc}n \u{1f333}");
    let large = setup.query(&[], "SELECT REPEAT('x', 1000000)");
    assert_eq!(large.len(), 1_000_000);
    assert!(setup.caller.directories().is_empty());
    assert!(!setup.caller.daemon.log().text().contains("geheim"));
}

#[test]
fn the_program_finds_a_file_of_options_and_no_secret() {
    let what = "the program finds a file of options, and no secret";
    let Some(setup) = Setup::new(what) else { return };
    let script = "stat -c %a \"$MYSQL_HOME\"; cat \"$MYSQL_HOME/my.cnf\"; echo \"$0\"; env";
    let said = setup.says("sh", &["-c", script, "{}"]);
    let lines: Vec<_> = said.lines().collect();
    let socket = lines[4];
    assert!(Path::new(socket).starts_with(&setup.caller.runtime), "{said}");
    let file = ["[client]", "user=\"orders\"", &format!("socket=\"{socket}\"")];
    assert_eq!((lines[0], &lines[1..4]), ("700", &file[..]));
    let port = format!("MYSQL_UNIX_PORT={socket}");
    for line in [port.as_str(), "MYSQL_USER=orders", "MYSQL_DATABASE=shop"] {
        assert!(lines.contains(&line), "{said}");
    }
    assert!(!said.contains("MYSQL_PWD") && !said.contains("geheim"), "{said}");
    let admin = setup.says("sh", &["-c", "mysqladmin --defaults-file=\"$MYSQL_HOME/my.cnf\" ping"]);
    assert_eq!(admin, "mysqld is alive");
}

#[test]
fn another_user_or_database_of_mysql_is_told_by_an_error() {
    let what = "another user or database of MySQL is told by an error";
    let Some(setup) = Setup::new(what) else { return };
    for (arguments, expected) in [
        (["-u", "eve"], "ERROR 1045 (28000): fdbroker: the session is that of user \"orders\""),
        // The server's own words.
        (["-D", "other"], "ERROR 1044 (42000): Access denied for user 'orders'"),
    ] {
        let output = setup.run("mysql", &[arguments[0], arguments[1], "-e", "SELECT 1"]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}

#[test]
fn an_interrupt_of_mysql_reaches_the_server() {
    let what = "an interrupt of mysql reaches the server";
    let Some(setup) = Setup::new(what) else { return };
    let mut mysql = setup.exec("mysql", &["-BN", "-e", "SELECT SLEEP(60)"]);
    let mut child = mysql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sleeping = || {
        let list = setup.query(&[], "SELECT INFO FROM information_schema.PROCESSLIST");
        list.lines().any(|line| line == "SELECT SLEEP(60)")
    };
    wait_until("the query runs", sleeping);
    process::signal(child.id(), Signal::INT);
    child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("Query execution was interrupted"), "{said}");
    wait_until("the query has ended", || !sleeping());
}

#[test]
fn pymysql_runs_as_it_is() {
    let what = "PyMySQL runs as it is";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "pymysql") {
        return;
    }
    let script = "import os, pymysql\n\
        env = os.environ\n\
        there = pymysql.connect(unix_socket=env['MYSQL_UNIX_PORT'], user=env['MYSQL_USER'], password='x')\n\
        with there.cursor() as cursor:\n    \
            cursor.executemany('INSERT INTO stock VALUES (%s)', [('a',), ('b',)])\n    \
            print(cursor.rowcount)\n    \
            cursor.execute('SELECT name FROM stock ORDER BY name')\n    \
            print(cursor.fetchall())\n\
        try: pymysql.connect(unix_socket=env['MYSQL_UNIX_PORT'], user='orders', client_flag=2)\n\
        except pymysql.err.OperationalError as error: print(error)";
    let said = setup.says(PYTHON, &["-c", script]);
    let (rows, refusal) = said.rsplit_once('\n').unwrap();
    assert_eq!(rows, "2\n(('a',), ('b',))");
    assert!(refusal.contains("1251") && refusal.contains("found rows"), "{refusal}");
}
