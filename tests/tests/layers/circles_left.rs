//! The circles that are still there. None may join them, and one that is broken is taken out.

/// A circle that waits to be broken.
pub(crate) struct Left {
    pub(crate) why: &'static str,
    pub(crate) files: &'static [&'static str],
}

pub(crate) const CIRCLES_LEFT: &[Left] = &[
    Left {
        why: "an answer carries out what is left to do of a batch, which is served by what answers; a session serves requests, which work on it",
        files: &[
            "broker/src/worker/answer.rs",
            "broker/src/worker/case.rs",
            "broker/src/worker/claims.rs",
            "broker/src/worker/escrow.rs",
            "broker/src/worker/listing.rs",
            "broker/src/worker/many.rs",
            "broker/src/worker/operate.rs",
            "broker/src/worker/request.rs",
            "broker/src/worker/runs.rs",
            "broker/src/worker/session.rs",
        ],
    },
    Left {
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
    },
];
