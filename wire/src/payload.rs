//! Bytes that may be secret: never shown, and wiped when they are dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// The bytes of a deposit, or of a message that may carry some.
///
/// Its memory is wiped when it is dropped, and its `Debug` shows only how many bytes there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Returns the bytes. They are not wiped then: that is up to the caller.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Takes the first bytes away.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn remove_first(&mut self, number: usize) {
        self.0.drain(..number);
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl PartialEq<Vec<u8>> for Payload {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0 == *other
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Makes room for more bytes. Where they have to move, no copy is left behind.
pub(crate) fn reserve(bytes: &mut Vec<u8>, more: usize) {
    let needed = bytes.len().saturating_add(more);
    if needed <= bytes.capacity() {
        return;
    }
    let mut larger = Vec::with_capacity(needed.max(bytes.capacity().saturating_mul(2)));
    larger.extend_from_slice(bytes);
    std::mem::replace(bytes, larger).zeroize();
}

#[cfg(test)]
mod tests {
    use super::{Payload, reserve};
    use crate::{Add, Decoder, Extended, Limits, Message, Slot};

    const SECRET: &[u8] = b"geheim";

    #[test]
    fn no_message_shows_its_payload() {
        let slot = Slot::new(1, 2).unwrap();
        let add = Add::<u8> { slot, ufd: -1, payload: SECRET.into(), descriptor: None };
        let extended =
            Extended::<u8> { op: 76, flags: 0, body: SECRET.into(), descriptors: vec![] };
        let deposit = crate::many::Deposit::<u8> {
            index: slot.index,
            ufd: -1,
            payload: SECRET.into(),
            descriptor: None,
        };
        let mut decoder = Decoder::<u8>::new(Limits::PEER);
        decoder.feed(&crate::add_head(slot, -1, 100), [], false);
        decoder.feed(SECRET, [], false);
        assert!(decoder.message().is_none());
        let numbers = format!("{SECRET:?}");
        let numbers = numbers.trim_matches(['[', ']']);
        for shown in [
            format!("{add:?} {:?}", Message::Add(add.clone())),
            format!("{extended:?} {:?}", Message::Extended(extended.clone())),
            format!("{deposit:?}"),
            format!("{decoder:?}"),
        ] {
            assert!(!shown.contains(numbers) && !shown.contains("geheim"), "{shown}");
            assert!(shown.contains("bytes"), "{shown}");
        }
    }

    #[test]
    fn what_moves_or_loses_its_beginning_keeps_the_rest() {
        let mut bytes = SECRET.to_vec();
        reserve(&mut bytes, 10_000);
        assert!(bytes == SECRET && bytes.capacity() >= 10_006);
        let mut payload = Payload::from(bytes);
        payload.remove_first(3);
        assert_eq!(&*payload, b"eim");
        assert_eq!(payload.into_vec(), b"eim");
    }
}
