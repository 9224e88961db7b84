//! What the loader asks of the machine: which number a name stands for.

use std::fmt;

use crate::{Gid, Uid};

/// Translates names of users and groups into numbers.
///
/// Not found is `Ok(None)`. An error says that nobody can tell, as when the directory service is down. The two are
/// different findings. The loader asks once for each name of a file.
pub trait Names {
    /// The number of the user of this name.
    ///
    /// # Errors
    /// [`LookupError`] where the answer could not be had.
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError>;

    /// The number of the group of this name.
    ///
    /// # Errors
    /// [`LookupError`] where the answer could not be had.
    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError>;
}

/// The name could not be looked up, for the reason given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError(pub String);

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LookupError {}
