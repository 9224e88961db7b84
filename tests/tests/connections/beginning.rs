//! The example of docs/connections.md, from its beginning to a query.

use std::io::Write;
use std::process::{Command, Stdio};

use fdbroker_tests::{Daemon, Postgres, needs_root};

use crate::pages::example;

const HEADING: &str = "## From nothing to a query";
const USER: u32 = 64043;

/// Runs a block of the page with this on its standard input.
#[track_caller]
fn run(block: &str, input: &str) {
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-e", "-c", block]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{block}");
}

#[test]
fn the_first_example_of_the_page_leads_to_a_query() {
    let what = "the first example of the page";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, "host all all 127.0.0.1/32 scram-sha-256") else {
        return;
    };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    server.execute("CREATE DATABASE orders OWNER orders");
    let builder = Daemon::with_policy("");
    let directory = builder.directory().path().to_str().unwrap().to_owned();
    let here = |block: String| block.replace("/etc/fdbroker", &directory);
    run(&here(example(HEADING, "sh")), "hunter2\n");
    let policy = here(example(HEADING, "toml")).replace(":5432", &format!(":{}", server.port()));
    let policy = policy.replace("\"www-data\"", &USER.to_string());
    let policy = policy.strip_prefix("version = 1\n").unwrap().to_owned();
    let daemon = builder.policy(&policy).start();
    let commands =
        example("Check it, start the broker, and have the user `www-data` ask something:", "sh");
    let asked = "exec orders=postgres -- psql -c 'SELECT current_user'";
    assert!(commands.contains(asked), "{commands}");
    let psql = server.program("psql");
    let query =
        ["exec", "orders=postgres", "--", psql.to_str().unwrap(), "-c", "SELECT current_user"];
    let said = daemon.run_as(USER, &query);
    assert!(said.status == 0 && said.out.contains("\n orders\n"), "{said:?}");
    let stranger = daemon.run_as(USER + 1, &query);
    assert_ne!(stranger.status, 0, "{stranger:?}");
}
