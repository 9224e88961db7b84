//! Opcodes: 0–6 are version 1, those from [`FIRST_EXTENDED`] up share one eight-byte
//! head and are version 2; of these, the ones from [`FIRST_PRIVATE`] up are spoken
//! between worker and supervisor alone.

/// Asks for version 2; reserved in version 1.
pub const HELLO: i16 = 0;
/// Deposits; also the answer to a [`GET`].
pub const ADD: i16 = 1;
/// Deletes a deposit.
pub const DEL: i16 = 2;
/// Answers an [`ADD`], a [`DEL`], and whatever failed.
pub const REPLY: i16 = 3;
/// Asks how much a tag holds.
pub const TAG: i16 = 4;
/// Answers a [`TAG`].
pub const INFO: i16 = 5;
/// Asks for a deposit.
pub const GET: i16 = 6;
/// The first opcode with the head that all later ones share.
pub const FIRST_EXTENDED: i16 = 64;
/// Asks which slot or tag a name means.
pub const FIND: i16 = 64;
/// Answers a [`FIND`].
pub const FOUND: i16 = 65;
/// Asks which slots there are.
pub const LIST: i16 = 66;
/// Answers a [`LIST`].
pub const LISTING: i16 = 67;
/// Asks the broker to read its policy again.
pub const RELOAD: i16 = 68;
/// Answers a [`RELOAD`], a [`PURGE`], a [`STATUS`], [`LEASES`], an [`END_LEASE`] and an [`INSPECT`].
pub const REPORT: i16 = 69;
/// Asks to delete deposits of any owner.
pub const PURGE: i16 = 70;
/// Asks how the broker is doing.
pub const STATUS: i16 = 72;
/// Asks for, or takes, the deposits of many slots.
pub const GET_MANY: i16 = 74;
/// Answers a [`GET_MANY`].
pub const GOT_MANY: i16 = 75;
/// Deposits in many slots.
pub const ADD_MANY: i16 = 76;
/// Answers an [`ADD_MANY`] and a [`DEL_MANY`].
pub const DONE_MANY: i16 = 77;
/// Deletes the deposits of many slots.
pub const DEL_MANY: i16 = 78;
/// Asks to take a tag over.
pub const CLAIM: i16 = 80;
/// Answers a [`CLAIM`].
pub const CLAIMED: i16 = 81;
/// The owner lets its claimant take over what it left.
pub const RELEASE: i16 = 82;
/// The claimant is the owner from now on.
pub const READY: i16 = 83;
/// Gives up a claim, or a tag.
pub const WITHDRAW: i16 = 84;
/// Tells, unasked, what happened to a tag that is owned or claimed.
pub const EVENT: i16 = 85;
/// Asks who has what on terms.
pub const LEASES: i16 = 86;
/// Asks to end a lease.
pub const END_LEASE: i16 = 88;
/// Asks for all deposits, connections or users.
pub const INSPECT: i16 = 90;
/// The first opcode that is never served to a peer.
pub const FIRST_PRIVATE: i16 = 96;
/// The supervisor's answer to a worker that asks for a resource.
pub const OPENED: i16 = 102;
/// Asks the supervisor for a closer, and is its answer.
pub const CLOSER: i16 = 118;
