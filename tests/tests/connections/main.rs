//! Connections to servers: the broker connects and logs in, and the caller gets the socket and no password.
//!
//! - [`adopted`]: client libraries that take a socket
//! - [`beginning`]: the first example of the page
//! - [`between`]: somebody who speaks TLS with the broker and with its server
//! - [`confined`]: what a helper can do that a server has taken over
//! - [`descriptor`]: libraries and programs that take a descriptor
//! - [`exec`]: unmodified programs, by the command
//! - [`kernel_tls`]: TLS by the kernel, in a virtual machine
//! - [`leases`]: who has a connection on terms, and when that ends
//! - [`mail`]: real mail servers
//! - [`mysql`]: a real MariaDB server
//! - [`names`]: servers by name, and connections without a log-in
//! - [`other_protocols`]: servers that speak something else than the policy says
//! - [`pages`]: what the page shows
//! - [`postgres`]: a real PostgreSQL server
//! - [`program`]: programs that log in for the broker
//! - [`proxies`]: real proxies, and a web server behind them
//! - [`ready`]: connections that are made before somebody asks
//! - [`recorded`]: what the audit trail says of a connection
//! - [`redis`]: a real Redis server
//! - [`relays`]: helpers that stay, since a server speaks TLS
//! - [`secrets`]: how a password is kept, and where it is found afterwards: nowhere
//! - [`shares`]: how many connections users have together
//! - [`start_tls`]: mail servers that are asked for TLS, and somebody between
//! - [`strangers`]: servers that lie, stall and flood
//! - [`tls`]: servers that speak TLS, and their certificates
//! - [`waiting`]: callers that wait for a connection, and leave, or whose policy changes

mod adopted;
mod beginning;
mod between;
mod confined;
mod descriptor;
mod exchanged;
mod exec;
mod kernel_tls;
mod leases;
mod mail;
mod mysql;
mod names;
mod other_protocols;
mod pages;
mod postgres;
mod program;
mod proxies;
mod ready;
mod recorded;
mod redis;
mod relays;
mod resource;
mod script;
mod secrets;
mod shares;
mod start_tls;
mod strangers;
mod tls;
mod waiting;
