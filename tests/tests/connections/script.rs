//! Log-ins that the policy spells out, to a real server: Redis takes commands in plain lines too.

use fdbroker_tests::{Daemon, HelperProcess, Redis, is_root};
use fdbroker_wire::Connection;

use crate::redis::ORDERS;
use crate::resource::{SLOT, There, connecting, connection, failure, tcp};

/// Who has no right on any credential.
const CALLER: u32 = 64035;

/// A daemon that logs in to a server with this password by these steps.
fn daemon(server: &Redis, password: &str, steps: &[&str]) -> Daemon {
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", password);
    let line = format!(
        "auth.script = {{ protocol = \"lines\", user = \"orders\", password = \"file:{}\", \
         steps = {steps:?} }}",
        path.display()
    );
    builder.policy(&connecting(&tcp(server.port()), &line)).start()
}

const STEPS: [&str; 4] =
    ["send:AUTH {user} {password}", "expect:+OK", "send:SELECT 3", "expect:+OK"];

#[test]
fn an_unprivileged_caller_gets_a_session_that_a_script_logged_in_and_no_password() {
    let what = "an unprivileged caller gets a session that a script logged in";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    let daemon = daemon(&server, "hunter2-geheim\n", &STEPS);
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!((session.protocol(), session.text("user")), ("lines", Some("orders")));
    let info = Redis::ask(There(caller.keep(socket)), session.early(), "CLIENT INFO").unwrap();
    for part in [" db=3 ", " user=orders "] {
        assert!(info.contains(part), "{part}: {info}");
    }
    assert!(!daemon.log().text().contains("geheim"));
}

#[test]
fn the_log_says_in_which_step_a_server_refused_a_script() {
    let Some(server) = Redis::start("a server that refuses a script", &ORDERS) else { return };
    let wrong = daemon(&server, "wrong-geheim", &STEPS);
    assert_eq!(wrong.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&wrong);
    assert!(said.contains("step 2: the server says \"-WRONGPASS "), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
