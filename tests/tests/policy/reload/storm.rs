//! Reloads that come together, again and again, or in vain.

use super::*;

#[test]
fn a_flood_of_reloads_in_vain_is_a_few_records_with_a_count() {
    let mut daemon = Daemon::with_policy(&everything()).start();
    daemon.write_policy_text("nonsense");
    for _ in 0..20 {
        daemon.complains(1, &["reload"]);
    }
    daemon.end(rustix::process::Signal::TERM);
    let records = reloads(&daemon);
    let sum: u32 = records.iter().map(|record| record.count.max(1)).sum();
    assert_eq!(sum, 20, "{records:#?}");
    assert!(records.len() < 20, "{} records", records.len());
}

const PEERS: i32 = 50;
/// How many of them also ask for what is opened.
const OPENERS: i32 = 6;
const STORM: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(10);

/// Policy `number` of two: even slots to everybody under the first, odd ones under the second;
/// and a resource at 1000 + number, opened for each who asks.
fn one_of_two(number: i32) -> String {
    let slots: Vec<String> = (0..PEERS)
        .filter(|index| index % 2 == number)
        .map(|index| format!("\"store/{index}\""))
        .collect();
    format!(
        "[tags.store]\nid = 1\n[resources.null]\nslot = \"store/{slot}\"\ndevice = \"/dev/null\"\n\
         [[rules]]\nid = \"half\"\nallow = [\"get\"]\nslots = [{}, \"null\"]\nanyone = true\n",
        slots.join(", "),
        slot = 1000 + number
    )
}

#[test]
fn a_reload_every_10_ms_while_50_peers_ask_loses_no_answer_and_every_one_is_right() {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut first = daemon.connect();
    (0..PEERS).for_each(|index| first.add((1, index), index.to_ne_bytes()).done());
    daemon.reload(&one_of_two(0));
    wait_until("all is as it was", || first.get((1, 0)).errno() == 0);
    let before = daemon.descriptors_with(&mut first);
    let end = std::time::Instant::now() + STORM;
    let counts: Vec<[u64; 4]> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..PEERS)
            .map(|index| {
                let peer = daemon.connect();
                scope.spawn(move || ask_until(end, peer, index))
            })
            .collect();
        let mut number = 0;
        while std::time::Instant::now() < end {
            number = 1 - number;
            daemon.write_policy(&one_of_two(number));
            daemon.hang_up();
            std::thread::sleep(EVERY);
        }
        asked.into_iter().map(|thread| thread.join().expect("a peer failed")).collect()
    });
    let sums = (0..4).map(|kind| counts.iter().map(|count| count[kind]).sum::<u64>());
    let sums: Vec<u64> = sums.collect();
    // On a busy machine the policy may change each time before a device is open.
    let came = [sums[0], sums[1], sums[2] + sums[3]];
    assert!(came.iter().all(|sum| *sum > 0), "each answer came at least once: {sums:?}");
    drop(counts);
    // The last one wins.
    daemon.reload(&one_of_two(1));
    assert_eq!(first.get((1, 0)).errno(), libc::EACCES);
    assert_eq!(first.get((1, 1)).payload(), 1i32.to_ne_bytes());
    assert_eq!(first.get((1, 1000)).errno(), libc::EACCES);
    first.get((1, 1001)).descriptor();
    assert!(!daemon.log().text().contains("has died"));
    daemon.wait_for_descriptors(before);
}

/// Asks for one slot and maybe a resource, again and again; every answer must be right under one of
/// the two. Returns how often each kind of answer came.
fn ask_until(end: std::time::Instant, mut peer: Peer, index: i32) -> [u64; 4] {
    let mut counts = [0; 4];
    while std::time::Instant::now() < end {
        match peer.get((1, index)) {
            Answer::Deposit { payload, descriptor: None, .. } => {
                assert_eq!(payload, index.to_ne_bytes());
                counts[0] += 1;
            }
            Answer::Failed(libc::EACCES, _) => counts[1] += 1,
            other => panic!("slot {index}: {other:?}"),
        }
        // More at once of one user are refused for that.
        if index >= OPENERS {
            continue;
        }
        match peer.get((1, 1000 + index % 2)) {
            Answer::Deposit { payload, descriptor: Some(descriptor), .. } => {
                assert!(payload.is_empty());
                assert!(fixtures::same_file(descriptor, fs::File::open("/dev/null").unwrap()));
                counts[2] += 1;
            }
            Answer::Failed(libc::EACCES, _) => counts[3] += 1,
            other => panic!("resource {}: {other:?}", index % 2),
        }
    }
    counts
}

#[test]
fn reloads_that_come_together_are_all_answered() {
    let daemon = Daemon::with_policy(&everything()).start();
    let children: Vec<_> = (0..20)
        .map(|_| daemon.command(&["reload"]).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in children {
        let status = wait_for("a reload ends", || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}
