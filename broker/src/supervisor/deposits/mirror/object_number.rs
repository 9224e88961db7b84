//! What an open file description is called in the store.

/// Its number. None is used twice: a slot that was empty for a moment must not come back with what it had before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ObjectNumber(pub(super) u64);

impl ObjectNumber {
    /// How many bytes it takes in the list of all names: a letter, the number, and a separator.
    pub(super) fn name_size(self) -> usize {
        format!("o{:x}:", self.0).len()
    }
}
