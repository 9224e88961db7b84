//! TLS to a server: whom the broker believes, and what it shows of itself. No value here is secret.

use std::fmt;

use fdbroker_types::quoted;

use super::credential::Credential;

/// How a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// What of the server's certificate is verified.
    pub mode: TlsMode,
    /// When it begins, with a server that is not asked for it by its own protocol.
    pub start: TlsStart,
    /// The file with the certificates of those who may sign the server's (PEM), by its absolute path.
    pub ca: String,
    /// What the broker shows to a server that asks for a certificate.
    pub client: Option<ClientCertificate>,
    /// Whether the kernel is to encrypt once the broker is logged in, where it can.
    pub kernel: bool,
}

/// A certificate of the broker's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The file with it, and with those between it and the server's authority (PEM), by its absolute path.
    pub chain: String,
    /// Where its private key is kept (PEM).
    pub key: Credential,
}

/// What of a server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// That `ca` has signed it, and that it is for the host of `connect`; the default.
    #[default]
    VerifyFull,
    /// That `ca` has signed it, for whichever host.
    VerifyCa,
}

/// When TLS begins on a connection to a mail server. PostgreSQL and MySQL ask for it in a way of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsStart {
    /// With the first byte ("implicit TLS" of RFC 8314); the default.
    #[default]
    Implicit,
    /// After the server was asked for it by the command STARTTLS, in plain text.
    StartTls,
}

impl TlsStart {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Implicit, Self::StartTls];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "starttls",
        }
    }
}

impl TlsMode {
    /// Every mode, the strictest first.
    pub const ALL: [Self; 2] = [Self::VerifyFull, Self::VerifyCa];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VerifyFull => "verify-full",
            Self::VerifyCa => "verify-ca",
        }
    }
}

impl Tls {
    /// Returns the files that are no secrets.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let chain = self.client.iter().map(|client| client.chain.as_str());
        std::iter::once(self.ca.as_str()).chain(chain)
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        self.client.as_ref().map(|client| &client.key)
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, start, ca, client, kernel } = self;
        write!(f, "{}", mode.name())?;
        if *start == TlsStart::StartTls {
            write!(f, " start {}", start.name())?;
        }
        write!(f, " ca {}", quoted(ca))?;
        client.iter().try_for_each(|ClientCertificate { chain, key }| {
            write!(f, " client_certificate {} client_key {key}", quoted(chain))
        })?;
        f.write_str(if *kernel { " by the kernel" } else { "" })
    }
}
