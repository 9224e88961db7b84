//! How a job tells the encryption: what is verified, and when TLS begins.

use fdbroker_policy::{Tls, TlsMode, TlsStart};

/// How a connection is to be encrypted. Where certificates are kept is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encryption {
    /// What of the server's certificate is to be verified.
    pub(crate) mode: TlsMode,
    pub(crate) start: TlsStart,
}

impl Encryption {
    pub(crate) fn of(tls: &Tls) -> Self {
        Self { mode: tls.mode, start: tls.start }
    }

    /// Returns the words of the policy for it.
    pub(super) fn value(self) -> String {
        format!("{} {}", self.mode.name(), self.start.name())
    }

    pub(super) fn read(value: &str) -> Option<Self> {
        let (mode, start) = value.split_once(' ')?;
        Some(Self {
            mode: TlsMode::ALL.into_iter().find(|found| found.name() == mode)?,
            start: TlsStart::ALL.into_iter().find(|found| found.name() == start)?,
        })
    }
}
