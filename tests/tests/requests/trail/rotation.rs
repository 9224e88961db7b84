//! The file: who may read it, how it is rotated, and that nothing is lost by that.

use super::*;

#[test]
fn the_file_is_for_its_owner_alone_and_what_was_in_it_stays() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    assert_eq!(fs::metadata(&trail.0).unwrap().permissions().mode() & 0o7777, 0o600);
    daemon.connect().add((1, 0), "x").done();
    for _ in 0..2 {
        assert_eq!(flags_in(daemon.worker_pid(), &trail.0), libc::O_WRONLY | libc::O_APPEND);
        daemon.kill_worker();
        daemon.connect().add((1, 1), "x").done();
    }
    let first = trail.records();
    let path = trail.0.clone();

    let second = Daemon::with_policy(POLICY).argument("--audit-file").argument(path).start();
    second.connect().add((1, 2), "x").done();
    let all = trail.records();
    assert_eq!(all[..first.len()], first);
    for (slot, times) in [("1/0", 1), ("1/1", 2), ("1/2", 1)] {
        assert_eq!(trail.count(|record| is(record, "decision", "granted", "add", slot)), times);
    }
}

/// How a process may use the one descriptor that it has of a file.
fn flags_in(pid: u32, path: &Path) -> i32 {
    let held = process::descriptors(pid).expect("root, or their owner, may look");
    let mut numbers = held.iter().filter(|(_, target)| *target == path.to_str().unwrap());
    let (number, _) = numbers.next().expect("it has the file open");
    assert_eq!(numbers.next(), None);
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & libc::O_CLOEXEC, 0);
    flags & (libc::O_ACCMODE | libc::O_APPEND)
}

#[test]
fn a_rotation_under_load_loses_no_record_and_writes_none_twice() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "x").done();
    let (asked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut files = vec![trail.0.clone()];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut peer = daemon.connect();
            let (asked, stop) = (&asked, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    peer.get((1, 0)).payload();
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..5 {
            let goal = asked.load(Ordering::Relaxed) + 200;
            wait_until("they ask", || asked.load(Ordering::Relaxed) >= goal);
            let moved = daemon.directory().join(&format!("audit.log.{number}"));
            fs::rename(&trail.0, &moved).unwrap();
            daemon.reload_files();
            files.push(moved);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let granted = |path: &PathBuf| {
        let records = records(path);
        let got = records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0"));
        (got.count() as u64, records.len())
    };
    let counts: Vec<_> = files.iter().map(granted).collect();
    let sum: u64 = counts.iter().map(|(got, _)| got).sum();
    assert_eq!(sum, asked.load(Ordering::Relaxed), "{counts:?}");
    assert!(counts.iter().all(|(_, lines)| *lines > 0), "each file has some: {counts:?}");
    assert_eq!(fs::metadata(&trail.0).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_cannot_be_an_audit_file_is_refused_at_start_with_its_sentence() {
    let directory = Directory::new();
    let file = directory.private_file("file", "mine");
    let link = directory.join("link");
    symlink(&file, &link).unwrap();
    let fifo = directory.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let nowhere = directory.join("nowhere/audit.log");
    for path in [&link, &fifo, &directory.path().to_owned(), &nowhere, &"/dev/null".into()] {
        let (status, said) =
            Daemon::with_policy(POLICY).argument("--audit-file").argument(path).fail();
        assert_eq!(status, 1, "{said}");
        let sentence = format!("--audit-file {}: ", path.display());
        assert!(said.contains(&sentence), "{said}");
        assert!(said.contains("; name a regular file, in a directory that exists"), "{said}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    // A FIFO that somebody reads is none either.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let (_, said) = Daemon::with_policy(POLICY).argument("--audit-file").argument(&fifo).fail();
    assert!(said.contains("not a regular file"), "{said}");

    let (status, said) = Daemon::with_policy(POLICY).setting("audit = \"required\"").fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("start the broker with --audit-file PATH"), "{said}");
}

#[test]
fn a_file_that_cannot_be_opened_anew_leaves_the_old_one_in_use() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    let moved = Trail(daemon.directory().join("moved"));
    fs::rename(&trail.0, &moved.0).unwrap();
    let other = daemon.directory().private_file("other", "mine");
    symlink(&other, &trail.0).unwrap();
    daemon.reload_files();
    daemon.log().wait_for("it is said", |line| {
        line.level == "error" && line.message.contains("cannot be reopened")
    });
    daemon.connect().add((1, 0), "x").done();
    assert_eq!(moved.count(|record| is(record, "decision", "granted", "add", "1/0")), 1);
    assert_eq!(moved.count(|record| is(record, "reload", "granted", "reload", "")), 1);
    assert_eq!(fs::read_to_string(other).unwrap(), "mine");
}

#[test]
fn kills_reloads_and_rotations_together_lose_no_record_of_what_was_answered() {
    const KILLS: usize = 30;
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "x").done();
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut files = vec![trail.0.clone()];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (answered, stop) = (&answered, &stop);
            let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
            scope.spawn(move || {
                let slot = fdbroker::Slot::new(1, 0).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(broker.get(slot).expect("a client sees no error").payload, b"x");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..KILLS {
            let goal = answered.load(Ordering::Relaxed) + 40;
            wait_until("they are served", || answered.load(Ordering::Relaxed) >= goal);
            let moved = daemon.directory().join(&format!("audit.log.{number}"));
            if fs::rename(&trail.0, &moved).is_ok() {
                files.push(moved);
            }
            daemon.hang_up();
            if number % 2 == 0 {
                daemon.hang_up();
            }
            daemon.kill_worker();
        }
        stop.store(true, Ordering::Relaxed);
    });
    daemon.reload(POLICY);
    let mut granted = 0;
    for path in files {
        let (records, _) = untorn(&Trail(path));
        let got = records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0"));
        granted += got.count() as u64;
    }
    let answered = answered.load(Ordering::Relaxed);
    // A request whose answer was lost with its worker is recorded twice.
    assert!(granted >= answered, "{granted} records of {answered} answers");
    let log = daemon.log().text();
    let deaths: Vec<_> = log.split('\n').filter(|line| line.contains("has died")).collect();
    assert_eq!(deaths.len(), KILLS, "{deaths:#?}");
    assert!(deaths.iter().all(|line| line.contains("(signal: 9")), "{deaths:#?}");
}

#[test]
fn requests_that_need_no_trail_go_on_when_the_file_is_deleted_and_a_hangup_makes_another() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    let mut peer = daemon.connect();
    fs::remove_file(&trail.0).unwrap();
    peer.add((1, 0), "x").done();
    daemon.reload_files();
    assert!(trail.0.exists());
    peer.add((1, 1), "x").done();
    assert_eq!(trail.count(|record| is(record, "decision", "granted", "add", "1/1")), 1);
}

#[test]
fn a_file_that_somebody_deletes_is_made_again() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY).setting("audit = \"required\""));
    let daemon = builder.start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "x").done();
    fs::remove_file(&trail.0).unwrap();
    // What would be in no file is not done.
    wait_until("requests are served again", || {
        let answer = peer.get((1, 0));
        let served = matches!(answer, Answer::Deposit { .. });
        assert!(served || answer.errno() == libc::EIO);
        assert!(!served || trail.0.exists(), "it was served unrecorded");
        served
    });
    assert_eq!(trail.count(|record| is(record, "decision", "granted", "get", "1/0")), 1);
    let told = daemon.log().text();
    assert!(told.contains("the audit file cannot be written: the file has been deleted"), "{told}");
    assert!(told.contains("the audit file was deleted; it has been recreated"), "{told}");
}
