//! What TLS by the broker costs beside TLS by the program itself: the broker's relay is between the two, and the program
//! is spared the arithmetic.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fdbroker::{Broker, Slot};
use fdbroker_tests::authority::VALID;
use fdbroker_tests::{Authority, Daemon, Directory, Postgres, fixtures};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{Effort, MADE, PASSWORD, median, of_each, own_session, queries};

/// How long an answer is that measures how fast many bytes go.
const LONG: usize = 1 << 20;

/// A log-in, a short query and a long answer, by the broker's TLS and by the program's own, in turns.
pub fn compare(effort: Effort) {
    let what = "the figures of TLS";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", "IP:127.0.0.1", VALID);
    let access = "hostssl all all 127.0.0.1/32 scram-sha-256";
    let started = Postgres::start_encrypted(what, access, &signed, &authority.certificate());
    let Some(server) = started else { return };
    server.execute(&format!("CREATE ROLE orders LOGIN PASSWORD '{PASSWORD}'"));
    let directory = Directory::new();
    let daemon = daemon(&server, &authority, &directory);
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let mut get =
        || UnixStream::from(broker.get(Slot::new(1, MADE).unwrap()).unwrap().descriptor.unwrap());
    let believed = believing(&authority);
    let own =
        || own_session::log_in_encrypted(server.port(), "orders", PASSWORD.as_bytes(), &believed);

    let log_ins = in_turns(
        effort,
        || of_each(effort.ready, || drop(own())),
        || of_each(effort.ready, || drop(get())),
    );
    print("a log-in with TLS", log_ins);
    let (mut by_itself, mut handed_over) = (own(), get());
    let each = f64::from(effort.transactions);
    let query = in_turns(
        effort,
        || of_each(1, || queries::ask(&mut by_itself, effort.transactions)) / each,
        || of_each(1, || queries::ask(&mut handed_over, effort.transactions)) / each,
    );
    print("a query with TLS", query);
    let long = in_turns(effort, || long(&mut by_itself, effort), || long(&mut handed_over, effort));
    print("an answer of 1 MiB with TLS", long);
}

/// A broker whose slot speaks TLS with the server.
fn daemon(server: &Postgres, authority: &Authority, directory: &Directory) -> Daemon {
    let password = directory.private_file("password", PASSWORD);
    let mut policy = fixtures::OPEN.to_owned();
    write!(
        policy,
        "\n[resources.orders]\nslot = \"open/{MADE}\"\nconnect = \"tcp:127.0.0.1:{}\"\n\
         tls = {{ ca = \"{}\" }}\nauth = {{ postgres = {{ user = \"orders\", database = \"postgres\", \
         password = \"file:{}\" }} }}\n",
        server.port(),
        authority.certificate().display(),
        password.display()
    )
    .unwrap();
    Daemon::open().policy(&policy).start()
}

fn believing(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(versions.unwrap().with_root_certificates(roots).with_no_client_auth())
}

/// The medians of the program's own way, and of the broker's.
fn in_turns(
    effort: Effort,
    mut own: impl FnMut() -> f64,
    mut broker: impl FnMut() -> f64,
) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..=effort.turns {
        let took = [own(), broker()];
        if turn > 0 {
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    times.map(median)
}

/// The time of one long answer.
fn long(stream: &mut (impl Read + Write), effort: Effort) -> f64 {
    let query = format!("SELECT repeat('x', {LONG})");
    // The rest of the answer is far shorter.
    let mut answer = vec![0; LONG + 4096];
    of_each(effort.long_answers, || queries::ask_for(&query, stream, &mut answer))
}

fn print(what: &str, [own, broker]: [f64; 2]) {
    println!("\n  {what}, by the program itself   {own:>9.1} µs");
    println!("  by the broker {broker:>9.1} µs   {:.2} of the speed", own / broker);
}
