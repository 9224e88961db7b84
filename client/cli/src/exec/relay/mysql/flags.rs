//! Capabilities that matter to the relay, by their flags.

pub(super) const FOUND_ROWS: u32 = 1 << 1;
pub(super) const CONNECT_WITH_DB: u32 = 1 << 3;
pub(super) const IGNORE_SPACE: u32 = 1 << 8;
const PROTOCOL_41: u32 = 1 << 9;
const SECURE_CONNECTION: u32 = 1 << 15;
pub(super) const MULTI_STATEMENTS: u32 = 1 << 16;
const PLUGIN_AUTH: u32 = 1 << 19;

/// What a client must be able to do: the session does it.
pub(super) const REQUIRED: u32 = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
