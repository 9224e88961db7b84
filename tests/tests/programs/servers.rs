//! Servers that others wrote, each started by the line that docs/servers.md shows, killed and started
//! again while a client waits. Whatever is not installed here is skipped aloud.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use fdbroker_tests::{
    Daemon, Directory, PATIENCE, binaries, fixtures, is_root, process, skip, wait_until,
};

/// The address of the socket on the page, and the one behind a proxy.
const SHOWN: &str = "127.0.0.1:8080";
const BEHIND: &str = "127.0.0.1:9000";

/// A row of the page and what it takes to try it.
struct Server {
    /// Its name in the first column.
    name: &'static str,
    /// A program that has to be installed.
    program: &'static str,
    /// Its file, where it has one: what the third column shows is in it.
    file: Option<(&'static str, &'static str)>,
    /// What a test adds to the line, since it owns only a directory.
    more: &'static str,
    /// What a client sends, and how the answer begins.
    exchange: (&'static [u8], &'static str),
}

const HTTP: (&[u8], &str) = (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.");
/// FCGI_BEGIN_REQUEST as a responder, three parameters, the end of them, no input.
const FCGI: (&[u8], &str) = (
    b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\
      \x01\x04\0\x01\0\x3b\0\0\x0b\x05SCRIPT_NAME/ping\x0f\x05SCRIPT_FILENAME/ping\x0e\x03REQUEST_METHODGET\
      \x01\x04\0\x01\0\0\0\0\x01\x05\0\x01\0\0\0\0",
    "\x01\x06",
);

const SERVERS: [Server; 16] = [
    Server {
        name: "nginx",
        program: "nginx",
        file: Some((
            "nginx.conf",
            "pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:8080; return 200 hello; }
}
",
        )),
        more: "-e stderr -p \"$PWD\" -c nginx.conf",
        exchange: HTTP,
    },
    Server {
        name: "haproxy",
        program: "haproxy",
        file: Some((
            "haproxy.cfg",
            "defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 30s
frontend web
  bind fd@3
  http-request return status 200 content-type text/plain string hello
",
        )),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "lighttpd",
        program: "lighttpd",
        file: Some((
            "lighttpd.conf",
            "server.systemd-socket-activation = \"enable\"
server.document-root = \"/usr/share\"
server.bind = \"127.0.0.1\"
server.port = PORT
",
        )),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "h2o",
        program: "h2o",
        file: Some((
            "h2o.conf",
            "listen: { host: 127.0.0.1, port: 8080 }
num-threads: 1
USER
hosts: { default: { paths: { /: { status: \"ON\" } } } }
",
        )),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "php-fpm",
        program: "php-fpm8.2",
        file: Some((
            "fpm.conf",
            "[global]
error_log = /dev/stderr
[www]
user = www-data
listen = 127.0.0.1:8080
pm = static
pm.max_children = 1
ping.path = /ping
",
        )),
        more: "-y fpm.conf",
        exchange: FCGI,
    },
    Server {
        name: "sshd",
        program: "/usr/sbin/sshd",
        file: None,
        more: "-e -f /dev/null -h \"$PWD/key\"",
        exchange: (b"", "SSH-2.0-"),
    },
    Server {
        name: "systemd-socket-proxyd",
        program: "/lib/systemd/systemd-socket-proxyd",
        file: None,
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "gunicorn",
        program: "gunicorn",
        file: Some(("app.py", WSGI)),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "uvicorn",
        program: "uvicorn",
        file: Some(("app.py", ASGI)),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "hypercorn",
        program: "hypercorn",
        file: Some(("app.py", ASGI)),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "puma",
        program: "puma",
        file: Some(("config.ru", "run ->(_) { [200, {}, ['hello']] }\n")),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "starman",
        program: "starman",
        file: Some(("app.psgi", "sub { [200, [], ['hello']] }\n")),
        more: "--workers 1",
        exchange: HTTP,
    },
    Server {
        name: "Node.js",
        program: "node",
        file: Some((
            "server.js",
            "const server = require('http').createServer((_, answer) => answer.end('hello'));
server.listen({ fd: 3 });
",
        )),
        more: "",
        exchange: HTTP,
    },
    Server {
        name: "Go",
        program: "go",
        file: Some((
            "server.go",
            "package main

import (
\t\"net\"
\t\"os\"
)

func main() {
\tlistener, err := net.FileListener(os.NewFile(3, \"web\"))
\tfor err == nil {
\t\tvar client net.Conn
\t\tif client, err = listener.Accept(); err == nil {
\t\t\tclient.Write([]byte(\"HTTP/1.0 200 OK\\r\\n\\r\\nhello\"))
\t\t\tclient.Close()
\t\t}
\t}
\tpanic(err)
}
",
        )),
        more: "",
        exchange: (b"", "HTTP/1."),
    },
    Server {
        name: "Python",
        program: "python3",
        file: Some((
            "server.py",
            "import http.server, socket
server = http.server.HTTPServer(('', 0), http.server.BaseHTTPRequestHandler, False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
",
        )),
        more: "",
        exchange: (b"HEAD / HTTP/1.0\r\n\r\n", "HTTP/1."),
    },
    Server {
        name: "Java",
        program: "javac",
        file: Some((
            "Server.java",
            "import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
class Server {
    public static void main(String[] arguments) throws Exception {
        var server = (ServerSocketChannel) System.inheritedChannel();
        while (true)
            try (var client = server.accept()) {
                client.write(ByteBuffer.wrap(\"HTTP/1.0 200 OK\\r\\n\\r\\nhello\".getBytes()));
            }
    }
}
",
        )),
        more: "",
        exchange: (b"", "HTTP/1."),
    },
];

const WSGI: &str = "def app(environ, start):
    start('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
";

const ASGI: &str = "async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        while (message := await receive())['type'] != 'lifespan.shutdown':
            await send({'type': 'lifespan.startup.complete'})
        return await send({'type': 'lifespan.shutdown.complete'})
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'hello'})
";

/// The page.
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/servers.md");
    fs::read_to_string(path).unwrap()
}

/// The second column of each row with a command, and the third, by the name in the first.
fn rows(page: &str) -> Vec<(String, String, String)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = page.lines().filter(|line| line.contains("| `fdbroker exec ")).map(cells);
    rows.map(|cells| {
        let [name, command, needs] = cells.try_into().expect("a row has three cells");
        (name, command.trim_matches('`').to_owned(), needs)
    })
    .collect()
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    found.unwrap().success()
}

/// A broker with a listening socket in `web/0`, and the socket's address.
fn parked() -> (Daemon, SocketAddr) {
    let daemon = Daemon::with_policy(&fixtures::OPEN.replace("open", "web")).start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
    broker.add("1/0".parse().unwrap(), Some(socket.as_fd()), b"").unwrap();
    (daemon, socket.local_addr().unwrap())
}

/// A server that runs, and everything that it started: a process group, killed when dropped.
struct Running(Child);

impl Running {
    /// Runs a line of the page in a directory; what it says goes to the file `said` there.
    fn start(daemon: &Daemon, directory: &Directory, line: &str) -> Self {
        let said =
            fs::File::options().create(true).append(true).open(directory.join("said")).unwrap();
        let programs = binaries::binaries().command.parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]).current_dir(directory.path());
        command.env("PATH", path).env("FDBROKER_SOCKET", daemon.socket());
        command.env("FDBROKER_POLICY", "").process_group(0).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        self.0.wait().unwrap();
        // A worker that ends later than its master can accept the next client, and answers nobody.
        wait_until("all of it has ended", || process::group_has_ended(self.0.id()));
    }
}

impl Server {
    /// Writes what it takes into a directory.
    fn prepare(&self, directory: &Directory, address: SocketAddr) {
        if let Some((name, text)) = self.file {
            let user = if is_root() { "user: root" } else { "" };
            let text = text.replace("USER", user).replace("PORT", &address.port().to_string());
            let port = format!("port: {}", address.port());
            let text = text.replace(SHOWN, &address.to_string()).replace("port: 8080", &port);
            directory.file(name, text, 0o644);
        }
        let made = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(directory.path()).stdin(Stdio::null());
            command.env("GO111MODULE", "off").env("GOCACHE", directory.join("cache"));
            assert!(command.status().unwrap().success(), "{program}");
        };
        match self.name {
            "Go" => made("go", &["build", "-o", "server", "server.go"]),
            "sshd" => {
                made("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "key"]);
                if is_root() {
                    // Where sshd goes without rights; a machine that boots makes it.
                    fs::create_dir_all("/run/sshd").unwrap();
                }
            }
            _ => {}
        }
    }

    /// Asks, and waits for the beginning of the answer.
    fn ask(&self, address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).expect("the parked socket listens");
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(self.exchange.0).unwrap();
        client
    }

    fn answers(&self, client: &mut TcpStream) -> Result<(), String> {
        let mut found = vec![0; self.exchange.1.len()];
        match client.read_exact(&mut found) {
            Ok(()) if found == self.exchange.1.as_bytes() => Ok(()),
            other => Err(format!("{other:?}: {}", String::from_utf8_lossy(&found))),
        }
    }

    /// Serves, is killed, and serves those who came in between.
    fn is_tried(&self, line: &str) {
        let (daemon, address) = parked();
        let behind = answering();
        let directory = Directory::new();
        self.prepare(&directory, address);
        let line = line.replace(SHOWN, &address.to_string()).replace(BEHIND, &behind.to_string());
        let line = format!("{line} {}", self.more);
        let mut client = self.ask(address);
        for _ in 0..2 {
            let running = Running::start(&daemon, &directory, &line);
            self.answers(&mut client).unwrap_or_else(|failure| {
                let said = fs::read_to_string(directory.join("said")).unwrap();
                panic!("{}: {line}: {failure}\n{said}", self.name)
            });
            drop(running);
            client = self.ask(address);
        }
    }
}

/// A server that any connection is answered by, until this process ends.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // One that has gone does not wait for an answer.
            let _ = client.and_then(|mut client| client.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello"));
        }
    });
    address
}

#[test]
fn each_server_of_the_page_goes_on_with_its_socket_after_a_kill() {
    let rows = rows(&page());
    assert_eq!(rows.len(), SERVERS.len(), "each row is tried");
    for (name, line, needs) in rows {
        let server = SERVERS.iter().find(|server| server.name == name).expect("the row is known");
        if let Some((_, text)) = server.file
            && let Some(shown) = needs.split('`').nth(1).filter(|_| needs.starts_with('`'))
        {
            assert!(text.contains(shown), "{name}: {shown} is not what is tried");
        }
        if !installed(server.program) {
            skip(&format!("docs/servers.md: {name}"), &format!("there is no {}", server.program));
            continue;
        }
        if name == "sshd" && !Command::new("id").arg("-un").output().unwrap().status.success() {
            skip("docs/servers.md: sshd", "the user of this test has no account");
            continue;
        }
        let begun = Instant::now();
        server.is_tried(&line);
        println!("{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn redis_and_apache_bind_their_address_themselves() {
    let apache = "apache2 -X -C 'ServerName localhost' -C 'Listen ADDRESS' -C 'PidFile apache.pid' \
                  -C 'LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so' \
                  -C 'ErrorLog said' -f /dev/null";
    for (program, line) in [("redis-server", "redis-server --port PORT"), ("apache2", apache)] {
        if !installed(program) {
            skip(&format!("docs/servers.md: {program}"), "it is not installed");
            continue;
        }
        let (daemon, address) = parked();
        let directory = Directory::new();
        let line = line.replace("PORT", &address.port().to_string());
        let line = line.replace("ADDRESS", &address.to_string());
        let mut running =
            Running::start(&daemon, &directory, &format!("fdbroker exec web/0 -- {line}"));
        fdbroker_tests::wait_until("it gives up", || running.0.try_wait().unwrap().is_some());
        let said = fs::read_to_string(directory.join("said")).unwrap();
        assert!(said.contains("Address already in use"), "{said}");
    }
}

#[test]
fn a_script_fetches_its_descriptor_as_the_page_shows() {
    let daemon = Daemon::with_policy(&fixtures::OPEN.replace("open", "web")).start();
    let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
    let page = page();
    let run = |directory: &Directory, line: &str| {
        let mut running = Running::start(&daemon, directory, line);
        running.0.wait().unwrap();
        fs::read_to_string(directory.join("said")).unwrap()
    };

    let again = "[ \"${LISTEN_PID-}\" = $$ ] || exec fdbroker exec latency -- \"$0\" \"$@\"\n";
    assert!(page.contains(again));
    let directory = Directory::new();
    let script = format!("#!/bin/sh\n{again}cat <&3; echo \" $*\"\n").replace("latency", "web/1");
    directory.script("script", &script);
    let file = fixtures::file_saying("kept");
    broker.add("1/1".parse().unwrap(), Some(file.as_fd()), b"").unwrap();
    assert_eq!(run(&directory, "./script one 'and two'"), "kept one and two\n");

    if !installed("bash") {
        return skip("docs/servers.md: bash", "it is not installed");
    }
    let substitution = "exec {log}< <(exec fdbroker exec kernel-log -- sh -c 'exec cat <&3')\n";
    assert!(page.contains(substitution));
    let directory = Directory::new();
    let script = format!("{substitution}cat <&$log\n").replace("kernel-log", "web/2");
    directory.file("script", script, 0o644);
    let file = fixtures::file_saying("kept");
    broker.add("1/2".parse().unwrap(), Some(file.as_fd()), b"").unwrap();
    assert_eq!(run(&directory, "bash script"), "kept");
}
