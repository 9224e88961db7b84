//! A credential in a helper's memory: wiped when it is dropped, and never shown.

use std::io;
use std::os::fd::OwnedFd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::fstat;
use rustix::io::pread;
use zeroize::Zeroizing;

/// The largest credential.
pub(crate) const MAX_SECRET: usize = 64 * 1024;

/// A password. It has no `Debug`.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Encodes what has a password in it, which stays as secret.
    pub(crate) fn base64(parts: &[&[u8]]) -> Self {
        let plain = Zeroizing::new(parts.concat());
        Self(Zeroizing::new(STANDARD.encode(&*plain).into_bytes()))
    }

    /// Reads what the supervisor put into memory.
    ///
    /// # Errors
    /// As pread(2), and if it is larger than any credential.
    pub(crate) fn read(memory: &OwnedFd) -> io::Result<Self> {
        let size = usize::try_from(fstat(memory)?.st_size).unwrap_or(usize::MAX);
        if size > MAX_SECRET {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Zeroizing::new(vec![0; size]);
        let mut read = 0;
        while read < size {
            let room = bytes.get_mut(read..).unwrap_or_default();
            match pread(memory, room, u64::try_from(read).unwrap_or(u64::MAX))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether it is a part of these bytes.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        !self.0.is_empty() && bytes.windows(self.0.len()).any(|part| part == self.bytes())
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn for_a_test(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}
