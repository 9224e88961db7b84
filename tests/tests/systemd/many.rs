//! What many deposits cost the next broker: time until it serves, and memory.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_tests::{HelperProcess, Peer, process, skip, systemd::ServiceManager, wait_until};

use super::ends::{SERVICE, ways};

const SOCKET: &str = "/run/fdbroker/fdbroker.sock";
const DEPOSITS: i32 = 10_000;
/// One in so many has a descriptor; this systemd compares each with all that it has.
const ONE_IN: i32 = 10;

const POLICY: &str = r#"
version = 1

[broker]
max_slots_per_uid = 10000

[tags.services]
id = 10
accept = ["unix-datagram", "none"]

[[rules]]
id = "root keeps things here"
allow = ["*"]
slots = ["services/*"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#;

fn connect(process: &HelperProcess) -> Peer {
    process.try_connect(Path::new(SOCKET), None).unwrap().greeted()
}

/// How long a client waits for an answer after all processes were killed, and the peak memory of both in MiB.
fn figures(manager: &ServiceManager, process: &HelperProcess) -> (Duration, [u64; 2]) {
    let [.., (_, kill_both)] = ways();
    let began = Instant::now();
    kill_both(manager);
    connect(process).get((10, 0));
    let took = began.elapsed();
    let supervisor = process::named_below(manager.init(), "fdbrokerd");
    let worker = process::workers(supervisor)[0];
    (took, [supervisor, worker].map(|pid| process::memory(pid, "VmHWM") >> 20))
}

#[test]
fn ten_thousand_deposits_come_back_soon() {
    let what = "ten thousand deposits that outlive the broker";
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    let process = HelperProcess::within(&manager);
    let (took, [supervisor, worker]) = figures(&manager, &process);
    println!("no deposit: {took:?} until it answers; {supervisor} and {worker} MiB at most");
    let mut peer = connect(&process);
    let payload = [7; 1024];
    for index in 0..DEPOSITS {
        if index % ONE_IN == 0 {
            let socket = UnixDatagram::unbound().unwrap();
            peer.add_descriptor((10, index), socket, payload).done();
        } else {
            peer.add((10, index), payload).done();
        }
    }
    wait_until("all are mirrored", || {
        let said = manager.succeed(&["fdbroker", "status"]);
        said.contains(&format!("mirror={DEPOSITS} stored, 0 here only, 0 to be sent"))
    });
    let (took, [supervisor, worker]) = figures(&manager, &process);
    println!(
        "{DEPOSITS} deposits of 1 KiB, one in {ONE_IN} with a socket: {took:?} until it answers; \
         {supervisor} and {worker} MiB at most"
    );
    let mut peer = connect(&process);
    for index in [0, 1, DEPOSITS - 1] {
        assert_eq!(peer.get((10, index)).payload(), payload, "slot {index}");
    }
    manager.end();
}
