//! Names of users and groups, as the machine's name service knows them.

mod bounded;
mod local_files;
mod question;
mod system;
pub(crate) mod threads;

pub use bounded::{BoundedNames, Lookup, NameService};
pub use question::{Answer, Entry, Question};
pub use system::ask_name_service;
pub use threads::OnThreads;

/// The machine's name service, each time for one load of a policy. A lookup takes a bounded time, but some seconds of it
/// where the service hangs: never look a name up on an event loop.
pub type SystemNames = BoundedNames<OnThreads>;
