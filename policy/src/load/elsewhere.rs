//! Keys that stand in a table in which they mean nothing, and mean something somewhere else.

/// What the text calls the table of the settings.
pub(super) const BROKER: &str = "[broker]";

/// The keys of `[broker]`.
pub(super) const KEYS_OF_BROKER: [&str; 9] = [
    "user",
    "max_connections",
    "max_connections_per_uid",
    "max_slots_per_uid",
    "max_payload_bytes_per_uid",
    "frame_timeout",
    "audit",
    "requests_per_second",
    "records_per_second",
];

/// Where a key belongs that a table does not know; `what` is what the text calls that table.
pub(super) fn where_else(what: &str, key: &str) -> Option<&'static str> {
    match key {
        _ if what != BROKER => {
            KEYS_OF_BROKER.contains(&key).then_some("this key belongs in [broker]")
        }
        "socket" => Some(
            "the socket is not set in the policy: ListenStream= of fdbrokerd.socket says where it \
             is, or --socket of fdbrokerd",
        ),
        "audit_file" | "log_format" => Some(
            "this is not set in the policy: it is an option of fdbrokerd, --audit-file or \
             --log-format",
        ),
        _ => None,
    }
}
