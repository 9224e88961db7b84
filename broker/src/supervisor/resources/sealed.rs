//! What a helper is handed of a file: a copy in memory that nobody can change.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, read, write};
use zeroize::Zeroizing;

/// Returns everything that is in a file, if that is no more than so many bytes.
///
/// # Errors
/// What is wrong, without anything of what is in it.
pub(super) fn read_all(file: &File, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    // One byte more than the largest; it never grows, so that no copy is left behind.
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut length = 0;
    loop {
        match read(file, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
    }
    if length > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Returns memory with these bytes that nobody can change.
///
/// # Errors
/// As memfd_create(2).
pub(super) fn sealed(bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3.
    let memory = memfd_create(c"credential", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create(c"credential", flags))?;
    let mut left = bytes;
    while !left.is_empty() {
        let written = write(&memory, left)?;
        left = left.get(written..).unwrap_or_default();
    }
    fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(memory)
}
