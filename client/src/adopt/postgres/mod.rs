//! A PostgreSQL session whose log-in is over, for clients that expect to log in.
//!
//! [`start_up`] and [`ready`] together are what a server sends after a StartupMessage that needs no password.
//! With the feature `tokio`, `Adopted` is a stream that answers the client by itself.

mod answer;
#[cfg(feature = "tokio")]
#[doc(hidden)]
pub mod exchange;
#[cfg(feature = "tokio")]
mod halves;
#[doc(hidden)]
pub mod message;
#[cfg(feature = "tokio")]
#[doc(hidden)]
pub mod opening;
#[cfg(feature = "tokio")]
mod settings;
#[doc(hidden)]
pub mod startup_message;
#[cfg(feature = "tokio")]
mod stream;

pub use answer::{PROTOCOL, key, ready, start_up};
#[cfg(feature = "tokio")]
pub use stream::Adopted;
