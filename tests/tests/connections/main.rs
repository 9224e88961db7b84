//! Connections to servers: the broker connects and logs in, and the caller gets the socket and no password.
//!
//! - [`postgres`]: a real PostgreSQL server

mod postgres;
