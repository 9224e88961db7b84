//! A credential in a helper's memory: wiped when it is dropped, and never shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The largest credential.
pub(crate) const MAX_SECRET: usize = 64 * 1024;

/// A password, or a private key. It has no `Debug`.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Encodes what has a password in it, which stays as secret.
    pub(crate) fn base64(parts: &[&[u8]]) -> Self {
        let plain = Zeroizing::new(parts.concat());
        Self(Zeroizing::new(STANDARD.encode(&*plain).into_bytes()))
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
