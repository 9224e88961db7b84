//! A daemon's process, before it is known whether it serves.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

use crate::{Directory, Log};

/// A daemon's process, and the pipe that tells when it serves.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) ready: File,
    pub(crate) log: Log,
    pub(crate) socket: PathBuf,
    /// Where the listening socket is bound: another path where it was passed in.
    pub(crate) bound: PathBuf,
    pub(crate) directory: Directory,
    pub(crate) head: String,
}
