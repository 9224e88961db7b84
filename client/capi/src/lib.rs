//! The interface of the older escrow library for C, served by fdbroker: `escrow_init`,
//! `escrow_fini`, `escrow_tag`, `escrow_get`, `escrow_add`, `escrow_del`.
//!
//! `include/escrow.h` is what a C program sees of it and says what each function does. `docs/c.md`
//! says how to build with it, and in what it differs from the original. The names, the signatures
//! and their meaning are those of <https://github.com/nikitadanilov/escrow>. The code and its
//! description are our own, and so is `escrow_connection_get`, which that library does not have.
//!
//! C and Rust meet in [`boundary`], and the unsafe code is there, but for the start of another
//! program (`detach`). Behind it is a session of the crate `fdbroker`. It sends with MSG_NOSIGNAL,
//! trusts only root's brokers and this user's, and reconnects if the broker restarts. It owns every
//! descriptor until it is handed over.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "what C passes can only be taken on trust")]
pub mod boundary;
mod connection;
#[expect(unsafe_code, reason = "between fork(2) and execve(2) there are only system calls")]
mod detach;
mod errno;
mod flags;
mod log;
mod place;
mod program;
mod session;
mod start;
