//! The circles that are still there. None may join them, and one that is broken is taken out.

/// A circle that waits to be broken.
pub(crate) struct Left {
    pub(crate) why: &'static str,
    pub(crate) files: &'static [&'static str],
}

pub(crate) const CIRCLES_LEFT: &[Left] = &[Left {
    why: "the harness: a `Daemon` is made by a builder of daemons and has people who are its peers",
    files: &[
        "tests/src/binaries.rs",
        "tests/src/builder.rs",
        "tests/src/command.rs",
        "tests/src/daemon.rs",
        "tests/src/directory.rs",
        "tests/src/example.rs",
        "tests/src/hands.rs",
        "tests/src/hostile.rs",
        "tests/src/lib.rs",
        "tests/src/peer.rs",
        "tests/src/person.rs",
        "tests/src/request.rs",
        "tests/src/sys/beginning.rs",
        "tests/src/sys/message.rs",
        "tests/src/sys/process.rs",
    ],
}];
