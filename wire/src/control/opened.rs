//! What opening a resource brought, and how it travels.

use super::Described;
use crate::fields::{Body, Fields};
use crate::{Errno, MAX_PAYLOAD, Payload};

/// What opening a resource brought: one descriptor for the caller, maybe others that belong to it,
/// a payload, which can be empty; of a connection what it is, and the number of a lease, where it is had on terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<F> {
    descriptor: F,
    others: Vec<F>,
    payload: Payload,
    lease: Option<u64>,
    connection: Option<Box<Described>>,
}

impl<F> Opened<F> {
    /// The most descriptors beside the caller's.
    pub const MOST_OTHERS: usize = 3;

    /// Returns what was opened, or `None` if there is too much of it: more than
    /// [`Opened::MOST_OTHERS`], or a payload of more than [`MAX_PAYLOAD`] bytes.
    pub fn new(descriptor: F, others: Vec<F>, payload: Payload) -> Option<Self> {
        let fits = others.len() <= Self::MOST_OTHERS && payload.len() <= MAX_PAYLOAD;
        fits.then_some(Self { descriptor, others, payload, lease: None, connection: None })
    }

    /// Returns one descriptor and nothing else.
    pub fn one(descriptor: F) -> Self {
        let (others, payload) = (Vec::new(), Payload::default());
        Self { descriptor, others, payload, lease: None, connection: None }
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

    /// Returns the number of its lease, where it is had on terms.
    pub fn lease(&self) -> Option<u64> {
        self.lease
    }

    /// Returns the same as what a lease has, which is never number 0.
    #[must_use]
    pub fn leased(self, lease: Option<u64>) -> Self {
        Self { lease: lease.filter(|number| *number != 0), ..self }
    }

    /// Returns what it is, if it is a connection.
    pub fn connection(&self) -> Option<&Described> {
        self.connection.as_deref()
    }

    /// Returns the same as a connection.
    #[must_use]
    pub fn connected(self, described: Described) -> Self {
        Self { connection: Some(Box::new(described)), ..self }
    }

    /// Returns the same with other descriptors in the place of these.
    pub fn map<G>(self, mut change: impl FnMut(F) -> G) -> Opened<G> {
        let Self { descriptor, others, payload, lease, connection } = self;
        let descriptor = change(descriptor);
        let others = others.into_iter().map(change).collect();
        Opened { descriptor, others, payload, lease, connection }
    }

    /// Returns the same with another payload, which must not be larger than [`MAX_PAYLOAD`] bytes.
    #[must_use]
    pub fn with_payload(self, change: impl FnOnce(Payload) -> Payload) -> Self {
        Self { payload: change(self.payload), ..self }
    }

    /// Returns the same with its descriptors borrowed, to be sent.
    pub fn borrowed(&self) -> Opened<&F> {
        let (others, payload) = (self.others.iter().collect(), self.payload.clone());
        let (lease, connection) = (self.lease, self.connection.clone());
        Opened { descriptor: &self.descriptor, others, payload, lease, connection }
    }
}

impl Body {
    /// Zero, the lease's number, what a connection is, and the payload; or an error number and a text.
    pub(super) fn opened<F>(&mut self, outcome: Result<Opened<F>, (Errno, String)>) -> Vec<F> {
        match outcome {
            Ok(Opened { descriptor, mut others, payload, lease, connection }) => {
                self.u32(0).u64(lease.unwrap_or(0));
                self.described(connection.as_deref()).bytes(&payload);
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
            let (lease, connection) = (self.u64()?, self.described()?);
            let opened = Opened::new(descriptor, descriptors.collect(), self.0.into())?;
            let opened = Opened { connection: connection.map(Box::new), ..opened };
            return Some(Ok(opened.leased(Some(lease))));
        }
        *self = before;
        let failure = self.told()?.err()?;
        (descriptors.is_empty() && self.0.is_empty()).then_some(Err(failure))
    }
}
