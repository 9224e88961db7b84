//! What programs that measure throughput reach by each way to a server, in turns in one run.

use std::path::Path;
use std::process::Command;

use fdbroker_tests::{Daemon, Directory, MariaDb, Postgres, Redis, fixtures, skip, wait_for};

use crate::bouncer::Bouncer;
use crate::{Effort, PASSWORD, bare_relay, median};

/// Connections at once.
const CLIENTS: u32 = 4;

/// A way to a server, and the program that goes it.
type Way<'a> = (&'static str, Box<dyn Fn() -> Command + 'a>);

/// Measures each way in turns, and prints the medians; the ratios are to the first way in the same round.
fn compare(what: &str, ways: &[Way<'_>], turns: usize, rate: impl Fn(&str) -> f64) {
    let mut rates = vec![Vec::new(); ways.len()];
    let mut ratios = rates.clone();
    for _ in 0..turns {
        let round: Vec<f64> = ways.iter().map(|(_, command)| rate(&run(&mut command()))).collect();
        for (at, found) in round.iter().enumerate() {
            rates[at].push(*found);
            ratios[at].push(found / round[0]);
        }
    }
    println!("\n  {what}, a second:");
    for ((name, _), (rates, ratios)) in ways.iter().zip(rates.into_iter().zip(ratios)) {
        println!("    {name:<38} {:>9.0}   {:.2}", median(rates), median(ratios));
    }
}

/// pgbench, read-only.
pub fn postgres(server: &Postgres, daemon: &Daemon, effort: Effort) {
    let pgbench = server.program("pgbench");
    if !pgbench.exists() {
        return skip("throughput of PostgreSQL", "there is no pgbench");
    }
    let runtime = Directory::new();
    let bare = runtime.join(".s.PGSQL.5432");
    bare_relay::start(&bare, server.port());
    let bouncer = Bouncer::start(server, PASSWORD);
    let client = |host: &Path, port: u16| {
        let mut command = Command::new(&pgbench);
        command.env("PGHOST", host).env("PGPORT", port.to_string());
        command.env("PGUSER", "orders").env("PGDATABASE", "postgres").env("PGPASSWORD", PASSWORD);
        command
    };
    let number = effort.transactions.to_string();
    let clients = CLIENTS.to_string();
    let select = ["-n", "-S", "-M", "prepared", "-c", &clients, "-j", "2", "-t", &number];
    let with_select = |mut command: Command| {
        command.args(select);
        command
    };
    let direct = || client(Path::new("127.0.0.1"), server.port());
    server.execute("GRANT CREATE ON SCHEMA public TO orders");
    run(direct().args(["-i", "-q", "-s", "1"]));
    let mut ways: Vec<Way<'_>> = vec![
        ("straight to the server", Box::new(|| with_select(direct()))),
        ("by a relay that only copies", Box::new(|| with_select(client(runtime.path(), 5432)))),
        (
            "by `fdbroker exec`",
            Box::new(|| with_select(exec(daemon, &runtime, "open/6=postgres", &pgbench))),
        ),
    ];
    if let Some(bouncer) = &bouncer {
        ways.push((
            "by pgbouncer",
            Box::new(move || {
                let mut command = direct();
                bouncer.lead(&mut command);
                with_select(command)
            }),
        ));
    }
    let tps = |said: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
        first_number(line.expect("pgbench says it"))
    };
    compare("transactions of pgbench", &ways, effort.turns, tps);
}

/// redis-benchmark, GET.
pub fn redis(effort: Effort) {
    let what = "throughput of Redis";
    let program = Path::new("/usr/bin/redis-benchmark");
    if !program.exists() {
        return skip(what, "there is no redis-benchmark");
    }
    let Some(server) = Redis::start(what, &["--protected-mode", "no"]) else { return };
    let runtime = Directory::new();
    let bare = runtime.join("bare");
    bare_relay::start(&bare, server.port());
    let daemon = daemon(server.port(), "auth = { redis = {} }");
    // With less than a millisecond's worth it says that it did infinitely many.
    let number = (effort.transactions * CLIENTS).max(2000).to_string();
    let clients = CLIENTS.to_string();
    let get = ["-t", "get", "-c", &clients, "-n", &number, "--csv"];
    let with_get = |mut command: Command, arguments: &[&str]| {
        command.args(arguments).args(get);
        command
    };
    let (port, path) = (server.port().to_string(), bare.display().to_string());
    let ways: Vec<Way<'_>> = vec![
        (
            "straight to the server",
            Box::new(|| with_get(Command::new(program), &["-h", "127.0.0.1", "-p", &port])),
        ),
        (
            "by a relay that only copies",
            Box::new(|| with_get(Command::new(program), &["-s", &path])),
        ),
        (
            "by `fdbroker exec`",
            Box::new(|| with_get(exec(&daemon, &runtime, "open/5=redis", program), &["-s", "{}"])),
        ),
    ];
    let rate = |said: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("\"GET\",\""));
        first_number(line.expect("redis-benchmark says it"))
    };
    compare("requests of redis-benchmark", &ways, effort.turns, rate);
}

/// mariadb-slap, one short query.
pub fn mariadb(effort: Effort) {
    let what = "throughput of MariaDB";
    let program = Path::new("/usr/bin/mariadb-slap");
    if !program.exists() {
        return skip(what, "there is no mariadb-slap");
    }
    let statements = [
        "CREATE DATABASE shop;",
        &format!("CREATE USER orders@'%' IDENTIFIED BY '{PASSWORD}';"),
        "GRANT ALL ON shop.* TO orders@'%';",
    ];
    let Some(server) = MariaDb::start(what, &statements) else { return };
    let runtime = Directory::new();
    let bare = runtime.join("bare");
    bare_relay::start(&bare, server.port());
    let directory = Directory::new();
    let password = directory.private_file("password", PASSWORD);
    let daemon = daemon(
        server.port(),
        &format!(
            "auth = {{ mysql = {{ user = \"orders\", database = \"shop\", \
             password = \"file:{}\", methods = [\"mysql_native_password\"] }} }}",
            password.display()
        ),
    );
    let number = effort.transactions * CLIENTS;
    let arguments = [
        "--create-schema=shop".to_owned(),
        "--no-drop".to_owned(),
        "--query=SELECT 1".to_owned(),
        format!("--concurrency={CLIENTS}"),
        format!("--number-of-queries={number}"),
    ];
    let with_query = |mut command: Command, more: &[String]| {
        command.args(more).args(&arguments);
        command
    };
    let own = |way: String| vec!["--user=orders".to_owned(), format!("--password={PASSWORD}"), way];
    let straight = [
        own(format!("--port={}", server.port())),
        vec!["--host=127.0.0.1".to_owned(), "--protocol=tcp".to_owned()],
    ]
    .concat();
    let copied = own(format!("--socket={}", bare.display()));
    let ways: Vec<Way<'_>> = vec![
        ("straight to the server", Box::new(|| with_query(Command::new(program), &straight))),
        ("by a relay that only copies", Box::new(|| with_query(Command::new(program), &copied))),
        (
            "by `fdbroker exec`",
            Box::new(|| with_query(exec(&daemon, &runtime, "open/5=mysql", program), &[])),
        ),
    ];
    let rate = |said: &str| {
        let text = "Average number of seconds to run all queries: ";
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(text));
        f64::from(number) / first_number(line.expect("mariadb-slap says it"))
    };
    compare("queries of mariadb-slap", &ways, effort.turns, rate);
}

/// A broker whose slot `open/5` is a connection to a port.
fn daemon(port: u16, auth: &str) -> Daemon {
    wait_for("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let policy = format!(
        "{}\n[resources.orders]\nslot = \"open/5\"\nconnect = \"tcp:127.0.0.1:{port}\"\n{auth}\n",
        fixtures::OPEN
    );
    Daemon::open().policy(&policy).start()
}

fn exec(daemon: &Daemon, runtime: &Directory, wanted: &str, program: &Path) -> Command {
    let mut command = daemon.command(&["exec", wanted, "--"]);
    command.arg(program).env("XDG_RUNTIME_DIR", runtime.path());
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// The number with which a text begins.
fn first_number(text: &str) -> f64 {
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    let end = text.find(|character| !is_of_number(character)).unwrap_or(text.len());
    text[..end].parse().expect("a number")
}
