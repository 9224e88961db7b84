//! The circles that are still there. None may join them, and one that is broken is taken out.

/// A circle that waits to be broken.
pub(crate) struct Left {
    pub(crate) why: &'static str,
    pub(crate) files: &'static [&'static str],
}

pub(crate) const CIRCLES_LEFT: &[Left] = &[
    Left {
        why: "the one type `Supervisor` is taken apart into files that call each other",
        files: &[
            "broker/src/supervisor/attendance.rs",
            "broker/src/supervisor/closers.rs",
            "broker/src/supervisor/health.rs",
            "broker/src/supervisor/lifecycle.rs",
            "broker/src/supervisor/reload.rs",
        ],
    },
    Left {
        why: "the listener restores its file in a file of its own, which looks at the listener",
        files: &["broker/src/supervisor/listener/deletion.rs", "broker/src/supervisor/listener.rs"],
    },
    Left {
        why: "what all sessions share, `Worker`, stands in the `mod.rs` that starts them; an answer knows the batch; a session knows the requests",
        files: &[
            "broker/src/worker/accept.rs",
            "broker/src/worker/answer.rs",
            "broker/src/worker/case.rs",
            "broker/src/worker/claim.rs",
            "broker/src/worker/claims.rs",
            "broker/src/worker/closer.rs",
            "broker/src/worker/connections.rs",
            "broker/src/worker/decision.rs",
            "broker/src/worker/escrow.rs",
            "broker/src/worker/full_table.rs",
            "broker/src/worker/gate.rs",
            "broker/src/worker/heartbeat.rs",
            "broker/src/worker/holder.rs",
            "broker/src/worker/identity.rs",
            "broker/src/worker/in_force.rs",
            "broker/src/worker/inbox.rs",
            "broker/src/worker/listing.rs",
            "broker/src/worker/lookup.rs",
            "broker/src/worker/many.rs",
            "broker/src/worker/mod.rs",
            "broker/src/worker/operate.rs",
            "broker/src/worker/request.rs",
            "broker/src/worker/restore.rs",
            "broker/src/worker/runs.rs",
            "broker/src/worker/session.rs",
            "broker/src/worker/supervision.rs",
            "broker/src/worker/taking.rs",
            "broker/src/worker/turns.rs",
            "broker/src/worker/unreachable.rs",
            "broker/src/worker/vault.rs",
            "broker/src/worker/writer.rs",
        ],
    },
    Left {
        why: "the table of what was asked makes an `Outcome`, which stands with what polls",
        files: &["client/src/polled/asked.rs", "client/src/polled.rs"],
    },
    Left {
        why: "a builder makes an `Upgrader`, which makes a builder; its functions are in several files",
        files: &[
            "client/src/upgrader/builder.rs",
            "client/src/upgrader/handle.rs",
            "client/src/upgrader/keeping.rs",
            "client/src/upgrader/lifecycle.rs",
            "client/src/upgrader/watch.rs",
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
