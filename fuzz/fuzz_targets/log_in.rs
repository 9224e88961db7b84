//! The log-in to a server of any kind: whatever the server sends, it ends, and its payload can be read. The first
//! byte chooses the kind.
#![no_main]

use fdbroker_wire::Connection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(payload) = fdbrokerd::server_fuzzing::log_in(data) {
        let connection = Connection::parse(&payload).expect("a payload can be read");
        assert!(data.ends_with(connection.early()), "other bytes are early than were sent last");
    }
    // What is no payload is refused, and nothing else.
    let _ = Connection::parse(data).map(|connection| connection.fields().count());
});
