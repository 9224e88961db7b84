//! What a session can do: flags of the server, and those that the broker wants.

const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
/// TLS, after the beginning of the response. It is not part of what a session can do.
pub(super) const TLS: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const MULTI_RESULTS: u32 = 1 << 17;
const PS_MULTI_RESULTS: u32 = 1 << 18;
const PLUGIN_AUTH: u32 = 1 << 19;

/// What a server must be able to do.
pub(super) const REQUIRED: u32 = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
/// What every client library copes with. No file of the client is read (LOCAL_FILES), and a query is one statement
/// (MULTI_STATEMENTS): a client may set that for its session.
const WANTED: u32 =
    REQUIRED | LONG_PASSWORD | LONG_FLAG | TRANSACTIONS | MULTI_RESULTS | PS_MULTI_RESULTS;

/// Returns what both can do, or `None` if the server cannot be told a database that there is.
pub(super) fn agreed(server: u32, has_database: bool) -> Option<u32> {
    let database = if has_database { CONNECT_WITH_DB } else { 0 };
    let agreed = server & (WANTED | database);
    (agreed & database == database).then_some(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_can_do_what_both_can() {
        assert_eq!(agreed(u32::MAX, false), Some(WANTED));
        assert_eq!(agreed(u32::MAX, true), Some(WANTED | CONNECT_WITH_DB));
        assert_eq!(agreed(REQUIRED, false), Some(REQUIRED));
        assert_eq!(agreed(REQUIRED, true), None);
    }
}
