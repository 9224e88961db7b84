//! The fields that messages of several families have: slots, texts and outcomes.

use crate::fields::{Body, Fields};
use crate::{Errno, Index, Slot, Tag};

impl Body {
    pub(super) fn slot(&mut self, slot: Slot) {
        self.u32(u32::from(slot.tag.get().unsigned_abs())).u32(slot.index.get().unsigned_abs());
    }

    pub(super) fn string(&mut self, value: &str) -> &mut Self {
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX)).bytes(value.as_bytes())
    }

    /// Zero and a text, or an error number and a text.
    pub(super) fn told(&mut self, outcome: Result<String, (Errno, String)>) {
        let (rc, text) = match outcome {
            Ok(text) => (0, text),
            Err((errno, text)) => (u32::from(errno.get().unsigned_abs()), text),
        };
        self.u32(rc).string(&text);
    }
}

impl Fields<'_> {
    pub(super) fn tag(&mut self) -> Option<Tag> {
        Tag::new(i16::try_from(self.u32()?).ok()?)
    }

    pub(super) fn slot(&mut self) -> Option<Slot> {
        Some(Slot { tag: self.tag()?, index: self.index()? })
    }

    pub(super) fn index(&mut self) -> Option<Index> {
        Index::new(i32::try_from(self.u32()?).ok()?)
    }

    /// Indices to the end.
    pub(super) fn indices_to_the_end(&mut self) -> Option<Vec<Index>> {
        let mut indices = Vec::new();
        while !self.0.is_empty() {
            indices.push(self.index()?);
        }
        Some(indices)
    }

    pub(super) fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.text(length).map(str::to_owned)
    }

    pub(super) fn told(&mut self) -> Option<Result<String, (Errno, String)>> {
        let (rc, text) = (i32::try_from(self.u32()?).ok()?, self.string()?);
        match rc {
            0 => Some(Ok(text)),
            _ => Some(Err((Errno::new(rc)?, text))),
        }
    }
}
