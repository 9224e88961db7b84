//! What stands in a journal, field by field.

/// What a memory is known by to the kernel that made it.
pub(super) type Mark = [u8; 16];

/// Fields of a fixed size, one after the other; zeroes behind the last.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let split = self.0.split_first_chunk();
        let (field, rest) = split.map_or(([0; N], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }
}
