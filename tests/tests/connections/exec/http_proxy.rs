//! Unmodified curl through an HTTP proxy that it could not log in to, to a server that is spoken to by TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fdbroker_tests::{Daemon, Directory, Proxy, needs_root, skip, wait_until};

use super::caller::{Caller, PYTHON, has_python, text};
use crate::proxies::{LOGIN, closed_port, policy};

const SLOT_NAME: &str = "1/5=http-proxy";

/// A proxy, a web server behind it, and a caller of a broker that is logged in to the proxy.
struct Setup {
    caller: Caller,
    policy: String,
    web: Web,
    _proxy: Proxy,
}

type Start = fn(&str, Option<(&str, &str)>) -> Option<Proxy>;

/// OpenSSL's own server.
struct Web {
    server: Child,
    port: u16,
    certificate: PathBuf,
}

impl Web {
    fn start(directory: &Directory) -> Option<Self> {
        let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| directory.join(name));
        let mut request = Command::new("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        request.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        request.args(["-addext", "subjectAltName=DNS:localhost", "-keyout"]).arg(&key);
        let made = request.arg("-out").arg(&certificate).output().ok()?;
        assert!(made.status.success(), "{made:?}");
        let port = closed_port();
        let mut server = Command::new("openssl");
        server.args([
            "s_server",
            "-www",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-key",
        ]);
        server.arg(&key).arg("-cert").arg(&certificate);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let web = Self { server: server.spawn().unwrap(), port, certificate };
        wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(web)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Setup {
    fn new(what: &str) -> Option<Self> {
        Self::behind(what, "http-proxy", Proxy::http)
    }

    /// The same behind a proxy of this kind.
    fn behind(what: &str, kind: &str, start: Start) -> Option<Self> {
        if Command::new("curl").arg("--version").output().is_err() {
            skip(what, "there is no curl");
            return None;
        }
        let proxy = start(what, LOGIN)?;
        let builder = Daemon::open();
        let Some(web) = Web::start(builder.directory()) else {
            skip(what, "there is no openssl");
            return None;
        };
        let target = format!("localhost:{}", web.port);
        let policy = policy(&builder, kind, &proxy, &target, "hunter2-geheim\n");
        let caller = Caller::of(builder.policy(&policy).start());
        Some(Self { caller, policy, web, _proxy: proxy })
    }

    /// The command `exec` with curl, that is to fetch a page.
    fn curl(&self, url: &str, arguments: &[&str]) -> Command {
        let certificate = self.web.certificate.to_str().unwrap();
        let all = ["-sS", "--noproxy", "", "--max-time", "60", "--cacert", certificate, url];
        let mut command = self.caller.exec(SLOT_NAME, "curl", &[&all, arguments].concat());
        // Names of this machine must not help.
        command.env("https_proxy", "http://192.0.2.1:1").env("HTTPS_PROXY", "http://192.0.2.1:1");
        command
    }

    fn page(&self) -> String {
        format!("https://localhost:{}/", self.web.port)
    }
}

#[test]
fn an_unmodified_curl_reaches_the_server_behind_an_http_proxy() {
    let what = "an unmodified curl reaches the server behind an HTTP proxy";
    let Some(setup) = Setup::new(what) else { return };
    let said = setup.caller.says(setup.curl(&setup.page(), &[]));
    assert!(said.contains("s_server -www"), "{said}");
    let said = setup.caller.says(setup.caller.exec(SLOT_NAME, "env", &[]));
    for name in ["https_proxy", "HTTPS_PROXY"] {
        assert!(said.contains(&format!("\n{name}=http://127.0.0.1:")), "{said}");
    }
    assert!(!said.contains("geheim"), "{said}");
    assert!(!setup.caller.daemon.log().text().contains("geheim"));
}

#[test]
fn the_server_behind_a_socks5_proxy_is_reached_by_https_proxy() {
    let what = "the server behind a SOCKS5 proxy is reached by https_proxy";
    let Some(setup) = Setup::behind(what, "socks5", Proxy::socks5) else { return };
    let said = setup.caller.says(setup.curl(&setup.page(), &[]));
    assert!(said.contains("s_server -www"), "{said}");
}

#[test]
fn whatever_the_session_is_not_is_refused_with_a_status() {
    let what = "whatever the session is not is refused with a status";
    let Some(setup) = Setup::new(what) else { return };
    for url in [format!("https://127.0.0.1:{}/", setup.web.port), "https://example.net/".to_owned()]
    {
        let output = setup.curl(&url, &[]).output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("403"), "{output:?}");
    }
    // A page that is no server's to be connected to.
    let script =
        format!("curl -sS --noproxy '' -x \"$https_proxy\" http://localhost:{}/", setup.web.port);
    let said = setup.caller.says(setup.caller.exec(SLOT_NAME, "sh", &["-c", &script]));
    assert!(said.starts_with("fdbroker: only CONNECT is served"), "{said}");
}

#[test]
fn the_reason_of_the_broker_is_the_body_of_a_status() {
    let what = "the reason of the broker is the body of a status";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    setup.caller.daemon.reload(&format!("{}\nholders = 1\nwait = \"100ms\"\n", setup.policy));
    let script = "import os, socket, sys\n\
        port = int(os.environ['https_proxy'].rpartition(':')[2])\n\
        asked = f'CONNECT localhost:{sys.argv[1]} HTTP/1.1\\r\\n\\r\\n'.encode()\n\
        kept = []\n\
        for _ in range(2):\n    \
            there = socket.create_connection(('127.0.0.1', port))\n    \
            there.sendall(asked)\n    \
            kept.append(there)\n    \
            print(there.recv(4096).decode())";
    let port = setup.web.port.to_string();
    let said = setup.caller.says(setup.caller.exec(SLOT_NAME, PYTHON, &["-c", script, &port]));
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(said.contains("HTTP/1.1 502 ") && said.contains("fdbroker: get 1/5"), "{said}");
}

#[test]
fn another_user_is_not_served_at_the_port() {
    let what = "another user is not served at the port";
    if !needs_root(what) {
        return;
    }
    let Some(setup) = Setup::new(what) else { return };
    let path = setup.caller.runtime.join("proxy");
    let script = "echo \"$https_proxy\" > \"$0\"; exec cat";
    let mut command = setup.caller.exec(SLOT_NAME, "sh", &["-c", script, path.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let proxy = || fs::read_to_string(&path).unwrap_or_default();
    wait_until("the program has its port", || proxy().ends_with('\n'));
    let mut there = TcpStream::connect(proxy().trim().trim_start_matches("http://")).unwrap();
    // It may have been closed already.
    let request = format!("CONNECT localhost:{} HTTP/1.1\r\n\r\n", setup.web.port);
    let _ = there.write_all(request.as_bytes());
    let mut said = Vec::new();
    let _ = there.read_to_end(&mut said);
    assert!(said.is_empty(), "{}", text(&said));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
