//! The client that does not block, on [tokio](https://docs.rs/tokio): feature `tokio`.

mod upgrader;

pub use upgrader::Upgrader;
