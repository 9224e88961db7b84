//! How a job tells the encryption: what is verified, and when TLS begins.

use fdbroker_policy::{Tls, TlsMode, TlsStart};

/// How a connection is to be encrypted. Where certificates are kept is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encryption {
    /// What of the server's certificate is to be verified.
    pub(crate) mode: TlsMode,
    pub(crate) start: TlsStart,
    /// Whether the kernel is to encrypt after the log-in, where it can.
    pub(crate) kernel: bool,
}

/// The last word, where the kernel is to encrypt, and where not.
const KERNEL: [(&str, bool); 2] = [("kernel", true), ("relay", false)];

impl Encryption {
    pub(crate) fn of(tls: &Tls) -> Self {
        Self { mode: tls.mode, start: tls.start, kernel: tls.kernel }
    }

    /// Returns a word for each part of it.
    pub(super) fn value(self) -> String {
        let last = if self.kernel { "kernel" } else { "relay" };
        format!("{} {} {last}", self.mode.name(), self.start.name())
    }

    pub(super) fn read(value: &str) -> Option<Self> {
        let (mode, rest) = value.split_once(' ')?;
        let (start, last) = rest.split_once(' ')?;
        Some(Self {
            mode: TlsMode::ALL.into_iter().find(|found| found.name() == mode)?,
            start: TlsStart::ALL.into_iter().find(|found| found.name() == start)?,
            kernel: KERNEL.into_iter().find(|(word, _)| *word == last)?.1,
        })
    }
}
