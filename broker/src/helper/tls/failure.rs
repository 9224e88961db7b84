//! What is said of a handshake that fails, in the words of the policy.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::helper::answer::{Failure, Step};
use crate::helper::spoken::{Spoken, words};

/// How much of a text that the server had a part in is repeated, in characters.
const SHOWN: usize = 200;

/// Returns the failure that an error of rustls is.
pub(super) fn of(error: &Error) -> Failure {
    let text = match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refused(*alert),
        Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        Error::PeerIncompatible(_) => {
            format!("the server and the broker have no way of TLS in common: {error}")
        }
        error => error.to_string(),
    };
    Failure::new(Step::Tls, text.chars().take(SHOWN).collect::<String>())
}

/// Returns the failure that an error of the handshake is, where these are the first bytes of the server.
pub(super) fn in_handshake(error: &io::Error, first: &[u8]) -> Option<Failure> {
    let failure = told(error)?;
    let spoken = Spoken::of(first);
    let is_other = matches!(error.get_ref()?.downcast_ref(), Some(Error::InvalidMessage(_)));
    if !is_other || first.is_empty() || spoken == Some(Spoken::Tls) {
        return Some(failure);
    }
    // It was told nothing secret.
    let start = match spoken {
        Some(Spoken::Smtp | Spoken::Imap) => "; if it has STARTTLS, add `start = \"starttls\"`",
        _ => "",
    };
    Some(Failure { text: format!("{}: it says {}{start}", failure.text, words(first)), ..failure })
}

/// Returns the failure that an error of a connection is, if it is one of TLS.
pub(crate) fn told(error: &io::Error) -> Option<Failure> {
    error.get_ref()?.downcast_ref().map(of)
}

fn certificate(error: &CertificateError) -> String {
    let text = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired, or one that it was signed with"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or one that it was signed with"
        }
        CertificateError::UnknownIssuer => "nobody in `ca` has signed the server's certificate",
        CertificateError::BadSignature => {
            "the server's certificate is signed in the name of an authority that has not signed it, \
             or the server does not have its key"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host than the one in `connect`"
        }
        // rustls hands on what its verifier says, without a name of its own for it.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority (CA:TRUE), and may not: have it show \
             one with basicConstraints=CA:FALSE"
        }
        other => return format!("the server's certificate is not accepted: {other}"),
    };
    text.to_owned()
}

/// What a server said that ended the handshake, or the connection after it.
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server asks for a certificate: add `client_certificate` and `client_key`"
                .to_owned()
        }
        other => format!("the server refuses: {}", other.as_str().unwrap_or("an unknown alert")),
    }
}
