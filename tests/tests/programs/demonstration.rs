//! The README's demonstration, run as a reader would run it.

use std::process::Command;

use fdbroker_tests::{Ids, binaries, is_root, sys};

#[test]
fn the_demonstration_shows_what_it_says() {
    let output = Command::new(binaries::example("demo")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["EACCES", "audit: granted get", "audit: refused get"] {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
}

#[test]
fn without_root_the_demonstration_shows_the_same_with_a_private_file() {
    if !fdbroker_tests::needs_root("root as somebody who is not") {
        return;
    }
    assert!(is_root());
    // A copy that this user can run, with the programs beside it.
    let directory = fdbroker_tests::Directory::new();
    let programs = binaries::binaries();
    let copies = [
        (binaries::example("demo"), "demo"),
        (programs.daemon.clone(), "fdbrokerd"),
        (programs.command.clone(), "fdbroker"),
        (programs.peer.clone(), "fdbroker-test-peer"),
    ];
    for (program, name) in copies {
        binaries::copy_program(&program, &directory.join(name));
    }
    let mut command = Command::new(directory.join("demo"));
    command.env("FDBROKER_TEST_BINARIES", directory.path()).current_dir("/");
    sys::become_before(&mut command, Ids::plain(64010));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("private file") && said.contains("audit: refused get 40/0"), "{said}");
}
