//! What opening a resource brought, and how it travels.

use crate::fields::{Body, Fields};
use crate::{Errno, MAX_PAYLOAD, Payload};

/// What opening a resource brought: one descriptor for the caller, maybe others that belong to it,
/// and a payload, which can be empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<F> {
    descriptor: F,
    others: Vec<F>,
    payload: Payload,
}

impl<F> Opened<F> {
    /// The most descriptors beside the caller's.
    pub const MOST_OTHERS: usize = 3;

    /// Returns what was opened, or `None` if there is too much of it: more than
    /// [`Opened::MOST_OTHERS`], or a payload of more than [`MAX_PAYLOAD`] bytes.
    pub fn new(descriptor: F, others: Vec<F>, payload: Payload) -> Option<Self> {
        let fits = others.len() <= Self::MOST_OTHERS && payload.len() <= MAX_PAYLOAD;
        fits.then_some(Self { descriptor, others, payload })
    }

    /// Returns one descriptor and nothing else.
    pub fn one(descriptor: F) -> Self {
        Self { descriptor, others: Vec::new(), payload: Payload::default() }
    }

    /// Returns what the caller is given beside the payload.
    pub fn descriptor(&self) -> &F {
        &self.descriptor
    }

    /// Returns every descriptor, the caller's first.
    pub fn descriptors(&self) -> impl Iterator<Item = &F> {
        std::iter::once(&self.descriptor).chain(&self.others)
    }

    /// Returns the bytes that the caller is given.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Returns the same with other descriptors in the place of these.
    pub fn map<G>(self, mut change: impl FnMut(F) -> G) -> Opened<G> {
        let Self { descriptor, others, payload } = self;
        let descriptor = change(descriptor);
        Opened { descriptor, others: others.into_iter().map(change).collect(), payload }
    }

    /// Returns the same with another payload, which must not be larger than [`MAX_PAYLOAD`] bytes.
    #[must_use]
    pub fn with_payload(self, change: impl FnOnce(Payload) -> Payload) -> Self {
        Self { payload: change(self.payload), ..self }
    }

    /// Returns the same with its descriptors borrowed, to be sent.
    pub fn borrowed(&self) -> Opened<&F> {
        let (others, payload) = (self.others.iter().collect(), self.payload.clone());
        Opened { descriptor: &self.descriptor, others, payload }
    }
}

impl Body {
    /// Zero and the payload, or an error number and a text.
    pub(super) fn opened<F>(&mut self, outcome: Result<Opened<F>, (Errno, String)>) -> Vec<F> {
        match outcome {
            Ok(Opened { descriptor, mut others, payload }) => {
                self.u32(0).bytes(&payload);
                others.insert(0, descriptor);
                others
            }
            Err(failure) => {
                self.told(Err(failure));
                Vec::new()
            }
        }
    }
}

impl Fields<'_> {
    pub(super) fn opened<F>(
        &mut self,
        descriptors: Vec<F>,
    ) -> Option<Result<Opened<F>, (Errno, String)>> {
        let before = Fields(self.0);
        if self.u32()? == 0 {
            let mut descriptors = descriptors.into_iter();
            let descriptor = descriptors.next()?;
            return Opened::new(descriptor, descriptors.collect(), self.0.into()).map(Ok);
        }
        *self = before;
        let failure = self.told()?.err()?;
        (descriptors.is_empty() && self.0.is_empty()).then_some(Err(failure))
    }
}
