//! Connections to servers: the broker connects and logs in, and the caller gets the socket and no password.
//!
//! - [`confined`]: what a helper can do that a server has taken over
//! - [`names`]: servers by name, and connections without a log-in
//! - [`postgres`]: a real PostgreSQL server
//! - [`secrets`]: how a password is kept, and where it is found afterwards: nowhere
//! - [`strangers`]: servers that lie, stall and flood

mod confined;
mod names;
mod postgres;
mod resource;
mod secrets;
mod strangers;
