//! Real mail servers of Debian, each on a loopback port of its own, run by an unprivileged user.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::port::own_port;
use crate::postgres::named_account;
use crate::{Directory, Signed, is_root, skip, sys, wait_until};

/// A mail server that runs. Ends when dropped.
#[derive(Debug)]
pub struct MailServer {
    process: Child,
    port: u16,
    _directory: Directory,
}

/// Takes mail from a user who is logged in: the arguments are the port, the user and a file with the password; with TLS also
/// when it begins, the certificate and its key.
const SMTP: &str = r#"
import asyncio, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

port, user, path = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
password = open(path, "rb").read()

def authenticator(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (user, password), handled=False)

encrypted = asked_for = None
if len(sys.argv) > 4:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[5], sys.argv[6])
    encrypted, asked_for = (None, context) if sys.argv[4] == "starttls" else (context, None)

async def main():
    make = lambda: SMTP(
        object(), auth_required=True, auth_require_tls=asked_for is not None, authenticator=authenticator,
        tls_context=asked_for, require_starttls=asked_for is not None,
    )
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port, ssl=encrypted)
    await server.serve_forever()

asyncio.run(main())
"#;

/// How a server is encrypted.
#[derive(Clone, Copy, Debug)]
pub enum Encryption<'s> {
    None,
    /// With the first byte.
    Implicit(&'s Signed),
    /// When it is asked for, and nobody is let in before.
    StartTls(&'s Signed),
}

impl Encryption<'_> {
    /// The word of the policy for it, and the certificate with its key, as copies for the account of the server.
    fn given(self, directory: &Directory) -> Option<(&'static str, Signed)> {
        let (start, signed) = match self {
            Self::None => return None,
            Self::Implicit(signed) => ("implicit", signed),
            Self::StartTls(signed) => ("starttls", signed),
        };
        let (_, ids) = named_account()?;
        Some((start, signed.copied_to(directory, &ids)))
    }
}

impl MailServer {
    /// Starts a server that takes mail for the test `what`, from this user with this password.
    #[track_caller]
    pub fn smtp(
        what: &str,
        user: &str,
        password: &str,
        encryption: Encryption<'_>,
    ) -> Option<Self> {
        let has_library = Command::new("/usr/bin/python3")
            .args(["-c", "import aiosmtpd.smtp"])
            .stderr(Stdio::null())
            .status();
        if !has_library.is_ok_and(|status| status.success()) {
            skip(what, "there is no SMTP server (python3-aiosmtpd)");
            return None;
        }
        Self::start(what, |directory, port| {
            let password = directory.private_file("password", password);
            own(&password);
            let mut command = Command::new("/usr/bin/python3");
            command.args(["-c", SMTP, &port.to_string(), user]).arg(password);
            if let Some((start, Signed { certificate, key })) = encryption.given(directory) {
                command.arg(start).arg(certificate).arg(key);
            }
            command
        })
    }

    /// Starts a server that keeps mail for the test `what`, for this user with this password.
    #[track_caller]
    pub fn imap(
        what: &str,
        user: &str,
        password: &str,
        encryption: Encryption<'_>,
    ) -> Option<Self> {
        if !Path::new("/usr/sbin/dovecot").exists() || !Path::new("/usr/lib/dovecot/imap").exists()
        {
            skip(what, "there is no IMAP server (dovecot-imapd)");
            return None;
        }
        Self::start(what, |directory, port| {
            let text = dovecot(directory, port, encryption.given(directory));
            let configuration = directory.private_file("dovecot.conf", text);
            let line = format!("{user}:{{PLAIN}}{password}::::::\n");
            let users = directory.private_file("users", line);
            [&configuration, &users].into_iter().for_each(|path| own(path));
            let mut command = Command::new("/usr/sbin/dovecot");
            command.arg("-F").arg("-c").arg(configuration);
            command
        })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    #[track_caller]
    fn start(what: &str, command: impl FnOnce(&Directory, u16) -> Command) -> Option<Self> {
        let Some((_, ids)) = named_account() else {
            skip(what, "no account that a mail server could run as");
            return None;
        };
        let directory = Directory::new();
        if is_root() {
            directory.give_to(&ids);
        }
        let port = own_port();
        let mut command = command(&directory, port);
        command.env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            sys::become_before(&mut command, ids);
        }
        let process = command.spawn().expect("the mail server starts");
        let server = Self { process, port, _directory: directory };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("the mail server accepts connections", answers);
        Some(server)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // Dovecot ends its other processes.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// Makes the account of the server the owner of a file.
fn own(path: &Path) {
    if let Some((_, ids)) = named_account().filter(|_| is_root()) {
        chown(path, Some(ids.uid), Some(ids.gid)).unwrap();
    }
}

/// A configuration that needs no privilege.
fn dovecot(directory: &Directory, port: u16, encryption: Option<(&str, Signed)>) -> String {
    let (ssl, imap, imaps) = match encryption {
        None => ("ssl = no".to_owned(), port, 0),
        Some((start, Signed { certificate, key })) => {
            let (certificate, key) = (certificate.display(), key.display());
            let ssl = format!("ssl = required\nssl_cert = <{certificate}\nssl_key = <{key}");
            if start == "starttls" { (ssl, port, 0) } else { (ssl, 0, port) }
        }
    };
    let here = directory.path().display();
    let (user, ids) = named_account().unwrap();
    format!(
        "protocols = imap\nlisten = 127.0.0.1\n{ssl}\ndisable_plaintext_auth = no\n\
         base_dir = {here}/run\nstate_dir = {here}/state\nlog_path = {here}/log\n\
         default_internal_user = {user}\ndefault_internal_group = {group}\n\
         default_login_user = {user}\nfirst_valid_uid = 1\nmail_location = maildir:{here}/mail\n\
         auth_mechanisms = plain login\n\
         passdb {{\n driver = passwd-file\n args = {here}/users\n}}\n\
         userdb {{\n driver = static\n args = uid={uid} gid={gid} home={here}\n}}\n\
         service imap-login {{\n chroot =\n inet_listener imap {{\n port = {imap}\n }}\n\
         inet_listener imaps {{\n port = {imaps}\n ssl = yes\n }}\n}}\n\
         service anvil {{\n chroot =\n}}\nservice stats {{\n chroot =\n}}\n",
        group = group(ids.gid),
        uid = ids.uid,
        gid = ids.gid
    )
}

/// The name of a group.
fn group(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let named = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse::<u32>().ok()?))
    };
    let found = groups.lines().filter_map(named).find(|(_, found)| *found == gid);
    found.map(|(name, _)| name).unwrap_or_else(|| gid.to_string())
}
