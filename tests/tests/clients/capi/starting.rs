//! The broker that the library starts where nobody listens.

use super::*;

#[test]
fn a_broker_is_started_when_nobody_listens_and_the_flags_ask_for_it() {
    let Some(place) = Place::new("a program in C that starts a broker") else { return };
    assert_eq!(place.gives(0), -libc::ENOENT);
    assert_eq!(place.gives(VERBOSE), -libc::ENOENT);
    assert_eq!(place.gives(CREAT), 0);
    let broker = place.broker().expect("it goes on running when the program has ended");
    // Another program finds it there, whatever its flags, and starts none.
    for flags in [CREAT, 0, FORCE, CREAT | FORCE] {
        assert_eq!(place.gives(flags), 0);
        assert_eq!(place.broker(), Some(broker));
    }
}

#[test]
fn the_broker_that_is_started_has_left_the_session_and_holds_nothing_of_the_program() {
    let Some(place) = Place::new("what a broker that was started inherits") else { return };
    assert_eq!(place.gives(CREAT), 0);
    let broker = place.broker().unwrap();
    let session = |pid| process::stat(pid).unwrap()[3].clone();
    assert_ne!(session(broker), session(std::process::id()));
    let links = fs::read_link(format!("/proc/{broker}/cwd"));
    assert_eq!(links.unwrap(), Path::new("/"));
    let own = process::descriptors(broker).expect("/proc shows open descriptors");
    for number in 0..3 {
        assert_eq!(own[&number], "/dev/null");
    }
}

#[test]
fn force_starts_a_broker_in_place_of_a_dead_socket_and_spares_what_is_no_socket() {
    let Some(place) = Place::new("ESCROW_FORCE") else { return };
    drop(UnixListener::bind(place.socket()).unwrap());
    if is_root() {
        std::os::unix::fs::chown(place.socket(), Some(TRIER), Some(TRIER)).unwrap();
    }
    assert_eq!(place.gives(0), -libc::ECONNREFUSED);
    assert_eq!(place.gives(FORCE), 0);

    let other = Place::new("ESCROW_FORCE").unwrap();
    let file = other.directory.file("usock", "precious", 0o666);
    assert_eq!(other.gives(FORCE | CREAT), -libc::ECONNREFUSED);
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn programs_that_start_a_broker_at_the_same_time_share_one() {
    let Some(place) = Place::new("programs in C that start a broker at once") else { return };
    let spawn = |_| place.init(place.socket(), CREAT, 1).stdout(Stdio::piped()).spawn().unwrap();
    let programs: Vec<Child> = (0..5).map(spawn).collect();
    for program in programs {
        let output = program.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"0\n");
    }
}

#[test]
fn the_environment_names_the_socket_where_the_program_does_not() {
    let Some(place) = Place::new("ESCROW_PATH") else { return };
    assert_eq!(result(place.init("-", CREAT, 1).env("ESCROW_PATH", "usock")), 0);
    assert!(place.broker().is_some(), "the path is relative to where the program is");
    let mut named = place.init("-", 0, 1);
    named.env_remove("ESCROW_PATH").env("FDBROKER_SOCKET", place.socket());
    assert_eq!(result(&mut named), 0);
}

#[test]
fn a_broker_that_cannot_be_started_is_an_error_in_time() {
    let Some(place) = Place::new("brokers that cannot be started") else { return };
    let with = |program: &str| {
        let mut command = place.init(place.socket(), CREAT, 1);
        result(command.env("FDBROKERD", program))
    };
    assert_eq!(with("/nonexistent/fdbrokerd"), -libc::ENOENT);
    assert_eq!(with("/bin/false"), -libc::ENOENT);
    let unreadable = place.directory.script("fdbrokerd", "#!/nonexistent/shell\n");
    assert_eq!(with(unreadable.to_str().unwrap()), -libc::ENOENT);
    let mut command = place.init(place.socket(), CREAT | VERBOSE, 1);
    let output = command.env("FDBROKERD", unreadable).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the broker cannot be started: No such file"), "{said}");
    let hangs = place.directory.script("hangs", "#!/bin/sh\nexec sleep 12\n");
    assert_eq!(with(hangs.to_str().unwrap()), -libc::ETIMEDOUT);
    // It would have 32 tags, and what is asked for would be missing only later.
    assert_eq!(result(&mut place.init(place.socket(), CREAT, 33)), -libc::EINVAL);
    assert_eq!(result(&mut place.init(place.socket(), CREAT, -1)), -libc::EINVAL);
    assert_eq!(place.broker(), None);
}

#[test]
fn root_without_an_account_for_the_worker_is_told_so_at_once_and_unasked() {
    let what = "a program in C that starts a broker as root without an account for the worker";
    if !fdbroker_tests::needs_root(what) || Place::new(what).is_none() {
        return;
    }
    if fs::read_to_string("/etc/passwd").unwrap().contains("\nfdbroker:") {
        return skip(what, "there is a user fdbroker");
    }
    let directory = Directory::new();
    let mut command = Command::new(&installed().shared);
    command.arg("init").arg(directory.join("usock")).args([CREAT.to_string(), "1".to_owned()]);
    command.env("FDBROKERD", &binaries().daemon);
    let began = Instant::now();
    let output = command.output().unwrap();
    assert_eq!(output.stdout, format!("{}\n", -libc::ENOENT).into_bytes());
    // Not as long as it waits for the broker of another program.
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("escrow: ") && said.contains("there is no user \"fdbroker\""),
        "{said}"
    );
}

#[test]
fn the_daemon_is_found_in_the_path() {
    let Some(place) = Place::new("fdbrokerd in PATH") else { return };
    let mut command = place.init(place.socket(), CREAT, 32);
    let path = binaries().daemon.parent().unwrap();
    assert_eq!(result(command.env_remove("FDBROKERD").env("PATH", path)), 0);
}

#[test]
fn verbose_says_what_happens_and_silence_is_silent() {
    let daemon = Daemon::open().start();
    let said = |flags: u32| {
        let mut command = Command::new(&installed().shared);
        command.arg("init").arg(daemon.socket()).args([flags.to_string(), "1".to_owned()]);
        // Tag 0 is refused, and so it ends there.
        let output: Output = command.output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said(VERBOSE);
    assert!(text.contains("escrow: connected to ") && text.contains("add 0/0"), "{text}");
    assert!(!said(0).contains("escrow: "));
}

#[test]
fn a_broker_of_another_user_is_not_trusted() {
    if !fdbroker_tests::needs_root("a C program and the broker of another user") {
        return;
    }
    let Some(builder) = Daemon::built_in("a C program and the broker of another user") else {
        return;
    };
    let daemon = builder.start();
    let mut command = Command::new(&installed().shared);
    command.arg("init").arg(daemon.socket()).args(["0", "1"]);
    assert_eq!(result(&mut command), -libc::EPERM);
}

#[test]
fn a_program_with_more_rights_than_its_caller_takes_nothing_from_the_environment() {
    let what = "a set-user-ID program in C";
    if !fdbroker_tests::needs_root(what) {
        return;
    }
    let daemon = Daemon::open().start();
    let directory = Directory::new();
    if !process::honours_set_user_id(directory.path()) {
        return skip(what, "nothing is set-user-ID here");
    }
    let gives = |mode: u32| {
        let program = directory.join("capi");
        copy_program(&installed().fixed, &program);
        std::os::unix::fs::chown(&program, Some(TRIER), Some(TRIER)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(program);
        command.args(["steps", "-", "1"]).env("ESCROW_PATH", daemon.socket());
        sys::become_before(&mut command, Ids::plain(TRIER + 1));
        command.stdin(Stdio::null()).output().unwrap()
    };
    assert!(gives(0o755).status.success());
    let output = gives(0o4755);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("found {}", -libc::EINVAL)), "{said}");
}
