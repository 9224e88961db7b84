//! What rustls is told: whom to believe, what to show, and nothing that outlives one connection.

use std::sync::Arc;

use fdbroker_policy::TlsMode;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::authority::AnyHost;
use crate::helper::handed::Memories;
use crate::helper::job::Encryption;

/// Returns the settings for one connection. Its keys can be handed over to the kernel if they are to be.
///
/// # Errors
/// What is wrong with the certificates or the key, without anything of them.
pub(super) fn of(encryption: Encryption, memories: &Memories) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(encryption.mode, authorities(&memories.authorities)?, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &memories.key {
        None => config.with_no_client_auth(),
        Some(key) => {
            let key = PrivateKeyDer::from_pem_slice(key.bytes()).map_err(|_| NO_KEY.to_owned())?;
            let chain = chain(&memories.certificate)?;
            config.with_client_auth_cert(chain, key).map_err(|error| not_fitting(&error))?
        }
    };
    // There is one connection.
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = encryption.kernel;
    Ok(config)
}

const NO_KEY: &str = "`client_key` holds no private key in PEM without a passphrase";

fn verifier(
    mode: TlsMode,
    authorities: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    Ok(match mode {
        TlsMode::VerifyFull => {
            let provider = Arc::clone(provider);
            let builder = WebPkiServerVerifier::builder_with_provider(authorities, provider);
            builder.build().map_err(|error| error.to_string())?
        }
        TlsMode::VerifyCa => {
            let algorithms = provider.signature_verification_algorithms;
            Arc::new(AnyHost { authorities, algorithms })
        }
    })
}

/// Returns the authorities of a file. What else is in it counts for nothing.
fn authorities(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(pem).flatten();
    let (added, _) = store.add_parsable_certificates(found);
    if added == 0 {
        return Err("`ca` holds no certificate in PEM".to_owned());
    }
    Ok(Arc::new(store))
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.ok_or_else(|| "`client_certificate` holds no certificate in PEM".to_owned())
}

fn not_fitting(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "`client_key` is not the key of `client_certificate`".to_owned()
        }
        error => format!("`client_certificate` and `client_key` cannot be used: {error}"),
    }
}
