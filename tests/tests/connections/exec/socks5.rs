//! Unmodified curl through a SOCKS5 proxy that it could not log in to.

use std::process::Command;

use fdbroker_tests::{Daemon, Proxy, skip};

use super::caller::{Caller, PYTHON, has_python, text};
use crate::proxies::{LOGIN, policy, web_server};

const SLOT_NAME: &str = "1/5=socks5";
/// The first curl that reaches a proxy by a Unix socket.
const OLDEST: (u32, u32) = (7, 84);

/// The version of curl, if there is one.
fn version() -> Option<(u32, u32)> {
    let output = Command::new("curl").arg("--version").output().ok()?;
    let said = text(&output.stdout);
    let mut numbers = said.split(' ').nth(1)?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// A proxy, a web server behind it, and a caller of a broker that is logged in to the proxy.
struct Setup {
    caller: Caller,
    policy: String,
    web: u16,
    _proxy: Proxy,
}

impl Setup {
    fn new(what: &str) -> Option<Self> {
        if version().is_none_or(|version| version < OLDEST) {
            skip(what, "there is no curl of version 7.84 or newer");
            return None;
        }
        let proxy = Proxy::socks5(what, LOGIN)?;
        let web = web_server();
        let target = format!("localhost:{web}");
        let builder = Daemon::open();
        let policy = policy(&builder, "socks5", &proxy, &target, "hunter2-geheim\n");
        let caller = Caller::of(builder.policy(&policy).start());
        Some(Self { caller, policy, web, _proxy: proxy })
    }

    /// The command `exec` with curl, that is to fetch a page of this host.
    fn curl(&self, host: &str, arguments: &[&str]) -> Command {
        let url = format!("http://{host}:{}/page", self.web);
        let all = [&["-sS", "--noproxy", "", "--max-time", "60", &url], arguments].concat();
        let mut command = self.caller.exec(SLOT_NAME, "curl", &all);
        // Names of this machine must not help.
        command.env("http_proxy", "http://192.0.2.1:1").env("all_proxy", "socks5://192.0.2.1:1");
        command
    }
}

#[test]
fn an_unmodified_curl_reaches_the_server_behind_a_socks5_proxy() {
    let what = "an unmodified curl reaches the server behind a SOCKS5 proxy";
    let Some(setup) = Setup::new(what) else { return };
    let said = setup.caller.says(setup.curl("localhost", &[]));
    assert_eq!(said, "you asked: GET /page HTTP/1.1");
    let said = setup.caller.says(setup.curl("LOCALHOST", &["-x", "socks5h://localhost{}"]));
    assert_eq!(said, "you asked: GET /page HTTP/1.1");
    let said = setup.caller.says(setup.caller.exec(SLOT_NAME, "env", &[]));
    assert!(said.contains("ALL_PROXY=socks5h://localhost/") && !said.contains("geheim"), "{said}");
    assert!(setup.caller.directories().is_empty());
    assert!(!setup.caller.daemon.log().text().contains("geheim"));
}

#[test]
fn another_server_than_that_of_the_session_is_refused() {
    let what = "another server than that of the session is refused";
    let Some(setup) = Setup::new(what) else { return };
    for host in ["127.0.0.1", "example.net"] {
        let output = setup.curl(host, &[]).output().unwrap();
        let said = text(&output.stderr);
        // 97: the handshake with the proxy has failed; 2: it is not allowed.
        assert_eq!(output.status.code(), Some(97), "{said}");
        assert!(said.contains("(2)"), "{said}");
    }
}

#[test]
fn the_reason_of_the_broker_is_told_beside_what_curl_says() {
    let what = "the reason of the broker is told beside what curl says";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    let policy = setup.policy.clone() + "\nholders = 1\nwait = \"100ms\"\n";
    setup.caller.daemon.reload(&policy);
    // The first client keeps the only session, and then there is curl.
    let script = "import os, socket, sys\n\
        path, port, *curl = sys.argv[1:]\n\
        there = socket.socket(socket.AF_UNIX)\n\
        there.connect(path)\n\
        asked = b'\\5\\1\\0\\5\\1\\0\\3\\x09localhost' + int(port).to_bytes(2, 'big')\n\
        there.sendall(asked)\n\
        said = there.makefile('rb').read(12)\n\
        assert said[3] == 0, said\n\
        os.spawnvp(os.P_WAIT, 'curl', curl)";
    let (port, url) = (setup.web.to_string(), format!("http://localhost:{}/", setup.web));
    let curl = ["curl", "-sS", "--noproxy", "", "--max-time", "60", &url];
    let arguments = [&["-c", script, "{}", &port], &curl[..]].concat();
    let output = setup.caller.exec(SLOT_NAME, PYTHON, &arguments).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("fdbroker: get 1/5") && said.contains("(1)"), "{said}");
}
