//! What `check` says of log-ins that show a password to others: in plain text, by a port that expects something else, or in
//! the policy itself.

use std::fs;
use std::net::IpAddr;

use fdbroker_policy::{
    Auth, ConnectSource, Policy, PostgresMethod, ScriptAuth, ScriptFill, ScriptStep, ScriptText,
    ServerAddress, Source, TlsStart,
};
use fdbroker_types::quoted;

use crate::notes::note;

/// Ports on which TLS begins with the first byte, and those on which a mail server is asked for it.
const IMPLICIT: [u16; 2] = [465, 993];
const STARTTLS: [u16; 3] = [25, 143, 587];

const PORT_OF_USERS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const USUAL_PORT_OF_USERS: u16 = 1024;

/// Prints a note for each.
pub(crate) fn note_plain_passwords(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        let Some(auth) = &connect.auth else { continue };
        let problems = [
            in_plain_text(connect, auth),
            at_a_free_port(connect, auth, first_port_of_users()),
            unexpected_start(connect, auth),
            written_out(auth),
        ];
        problems.into_iter().flatten().for_each(|problem| note(shown, resource, problem));
    }
}

/// A password that goes over the network as it is.
fn in_plain_text(connect: &ConnectSource, auth: &Auth) -> Option<String> {
    connect.password()?;
    if connect.tls.is_some() || !may_send_it_as_it_is(auth) {
        return None;
    }
    let remote = connect.addresses.iter().find(|address| is_elsewhere(address))?;
    let remote = remote.to_string();
    let cure = match auth {
        Auth::Socks5(_) | Auth::HttpProxy(_) => {
            "a proxy cannot be asked for TLS: use a network that you trust, or a password that opens \
             nothing else"
        }
        _ => "add `tls`, or use a network that you trust",
    };
    Some(format!("{}: the password goes to another machine in plain text; {cure}", quoted(&remote)))
}

/// A password that goes as it is to a port of this machine where any user can listen while the server does not.
fn at_a_free_port(connect: &ConnectSource, auth: &Auth, first_of_users: u16) -> Option<String> {
    connect.password()?;
    if connect.tls.is_some() || !may_send_it_as_it_is(auth) {
        return None;
    }
    let is_free = |address: &&ServerAddress| match address {
        ServerAddress::Tcp { port, .. } => !is_elsewhere(address) && *port >= first_of_users,
        ServerAddress::Unix(_) => false,
    };
    let address = connect.addresses.iter().find(is_free)?.to_string();
    let cure = match auth {
        Auth::Socks5(_) | Auth::HttpProxy(_) => "connect to a Unix socket",
        _ => "connect to the server's Unix socket, or add `tls`",
    };
    Some(format!(
        "{}: while the server is down, any user of this machine can listen there, and is sent the password; {cure}",
        quoted(&address)
    ))
}

/// The first port at which any user may listen (ip(7)).
fn first_port_of_users() -> u16 {
    let text = fs::read_to_string(PORT_OF_USERS).ok();
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_PORT_OF_USERS)
}

/// MySQL is told the password by TLS only.
fn may_send_it_as_it_is(auth: &Auth) -> bool {
    match auth {
        Auth::Imap(_) | Auth::Smtp(_) | Auth::Redis(_) | Auth::Socks5(_) | Auth::HttpProxy(_) => {
            true
        }
        Auth::Postgres(auth) => auth.methods.contains(&PostgresMethod::Cleartext),
        Auth::Script(auth) => fills(auth).any(ScriptFill::has_password),
        Auth::Mysql(_) | Auth::Program(_) => false,
    }
}

fn is_elsewhere(address: &ServerAddress) -> bool {
    let ServerAddress::Tcp { host, .. } = address else { return false };
    match host.parse::<IpAddr>() {
        Ok(address) => !address.is_loopback(),
        Err(_) => host != "localhost" && !host.ends_with(".localhost"),
    }
}

/// A port on which a mail server expects TLS at another moment.
fn unexpected_start(connect: &ConnectSource, auth: &Auth) -> Option<String> {
    if !auth.has_start_tls() {
        return None;
    }
    let start = connect.tls.as_deref().map(|tls| tls.start);
    let ports = connect.addresses.iter().filter_map(|address| match address {
        ServerAddress::Tcp { port, .. } => Some(*port),
        ServerAddress::Unix(_) => None,
    });
    ports.into_iter().find_map(|port| match start {
        None | Some(TlsStart::StartTls) if IMPLICIT.contains(&port) => Some(format!(
            "on port {port}, TLS begins with the first byte; set `tls` without `start`"
        )),
        Some(TlsStart::Implicit) if STARTTLS.contains(&port) => Some(format!(
            "on port {port}, a server is asked for TLS; add start = \"starttls\" to `tls`"
        )),
        _ => None,
    })
}

/// A script that logs in by what it says itself.
fn written_out(auth: &Auth) -> Option<String> {
    let Auth::Script(auth) = auth else { return None };
    let sends = auth.steps.iter().any(|step| step.sent().is_some());
    let is_suspect = sends && !fills(auth).any(ScriptFill::has_password);
    is_suspect.then(|| {
        "no step sends {password}; if a password is written into one, everybody who may read \
         the policy can read it: keep it in a file, and name that as `password`"
            .to_owned()
    })
}

fn fills(auth: &ScriptAuth) -> impl Iterator<Item = ScriptFill> {
    auth.steps.iter().filter_map(ScriptStep::sent).flat_map(ScriptText::fills)
}
