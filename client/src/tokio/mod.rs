//! The client that does not block, on [tokio](https://docs.rs/tokio): feature `tokio`.
//!
//! ```no_run
//! use std::os::fd::AsFd;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = fdbroker::tokio::Broker::connect().await?;
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! broker.add("10/0".parse()?, Some(listener.as_fd()), b"").await?;
//!
//! // Both are under way at once.
//! let (first, second) = (broker.clone(), broker.clone());
//! let first = tokio::spawn(async move { first.get("10/0".parse().expect("a slot")).await });
//! let tag = second.tag("10".parse()?).await?;
//! let deposit = first.await??;
//! # Ok(())
//! # }
//! ```

mod address;
mod broker;
mod driver;
mod methods;
mod shared;
mod upgrader;

pub use address::{Addresses, ToOwnedAddress};
pub use broker::Broker;
pub use upgrader::Upgrader;
