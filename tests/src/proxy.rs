//! Real proxies of Debian, each on a loopback port of its own, run by an unprivileged user.

use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Stdio};

use crate::port::own_port;
use crate::{Directory, Ids, is_root, skip, sys, wait_until};

/// Whom a proxy runs as where the tests run as root.
const ACCOUNT: u32 = 64034;

/// A proxy that runs. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Child,
    port: u16,
}

impl Proxy {
    /// Starts a SOCKS5 proxy for the test `what`, that asks for this user and password if there is one.
    #[track_caller]
    pub fn socks5(what: &str, login: Option<(&str, &str)>) -> Option<Self> {
        Self::start(what, "microsocks", |command, port| {
            command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            if let Some((user, password)) = login {
                command.args(["-u", user, "-P", password]);
            }
        })
    }

    /// Starts an HTTP proxy for the test `what`, that asks for this user and password if there is one.
    ///
    /// # Panics
    /// When its configuration cannot be written.
    #[track_caller]
    pub fn http(what: &str, login: Option<(&str, &str)>) -> Option<Self> {
        // It has been read once the proxy accepts connections.
        let directory = Directory::new();
        Self::start(what, "tinyproxy", |command, port| {
            let login = login.map(|(user, password)| format!("BasicAuth {user} {password}\n"));
            let text = format!("Port {port}\nListen 127.0.0.1\nMaxClients 20\n");
            let text = text + &login.unwrap_or_default();
            let configuration = directory.private_file("tinyproxy.conf", text);
            if is_root() {
                chown(&configuration, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
            }
            command.arg("-d").arg("-c").arg(configuration);
        })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    #[track_caller]
    fn start(what: &str, program: &str, set: impl FnOnce(&mut Command, u16)) -> Option<Self> {
        let port = own_port();
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        set(&mut command, port);
        if is_root() {
            sys::become_before(&mut command, Ids::plain(ACCOUNT));
        }
        let Ok(process) = command.spawn() else {
            skip(what, &format!("there is no {program}"));
            return None;
        };
        let proxy = Self { process, port };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("the proxy accepts connections", answers);
        Some(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
