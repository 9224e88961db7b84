//! New keys for what this side sends (RFC 8446, 4.6.3 and 7.2): those that protected the log-in are left behind.
//!
//! rustls would have the server change its keys, too. Servers of OpenSSL do that only when they next send something,
//! with a message that a plain read(2) fails with. So the change is made here, for one direction.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{self, KeyType, Prk};
use rustls::{ConnectionTrafficSecrets, KeyLog};
use zeroize::Zeroizing;

/// What rustls calls the secret of what a client sends.
const LABEL: &str = "CLIENT_TRAFFIC_SECRET_0";
/// How long a nonce is.
const NONCE: usize = 12;
/// The head of the record that tells the change: its type, a version, and its length.
const HEAD: [u8; 5] = [23, 3, 3, 0, 5 + 1 + 16];
/// The message (KeyUpdate: the other side need not change its own), and its type.
const CHANGE: [u8; 6] = [24, 0, 0, 1, 0, 22];

/// The secret of what this side sends, as rustls tells it during the handshake.
#[derive(Default)]
pub(super) struct SentSecret(Mutex<Zeroizing<Vec<u8>>>);

/// Keys that nothing was encrypted with, and the record that tells the server of them.
pub(super) struct Renewal {
    pub(super) record: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) iv: Zeroizing<Vec<u8>>,
}

impl KeyLog for SentSecret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            // A panic while it is locked leaves it whole.
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret.to_vec().into();
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL
    }
}

impl fmt::Debug for SentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

impl SentSecret {
    /// Makes the next keys, where so many records have been sent with the present ones. `None` if these do not
    /// come from the secret: the server has asked for a change before.
    pub(super) fn renew(&self, now: &ConnectionTrafficSecrets, sent: u64) -> Option<Renewal> {
        let secret = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (cipher, hash, key, iv) = match now {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&aead::AES_128_GCM, hkdf::HKDF_SHA256, key, iv)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&aead::AES_256_GCM, hkdf::HKDF_SHA384, key, iv)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, hkdf::HKDF_SHA256, key, iv)
            }
            _ => return None,
        };
        let (key, iv) = (key.as_ref(), iv.as_ref());
        let present = keys(hash, &secret, key.len())?;
        if present.0.as_slice() != key || present.1.as_slice() != iv {
            return None;
        }
        let next = expand(&Prk::new_less_safe(hash, &secret), "traffic upd", secret.len())?;
        let record = record(cipher, key, iv, sent)?;
        let (key, iv) = keys(hash, &next, key.len())?;
        Some(Renewal { record, key, iv })
    }
}

type Secret = Zeroizing<Vec<u8>>;

/// Returns the key and the nonce's constant part that belong to a secret.
fn keys(hash: hkdf::Algorithm, secret: &[u8], length: usize) -> Option<(Secret, Secret)> {
    let secret = Prk::new_less_safe(hash, secret);
    Some((expand(&secret, "key", length)?, expand(&secret, "iv", NONCE)?))
}

/// HKDF-Expand-Label without a context (RFC 8446, 7.1).
fn expand(secret: &Prk, label: &str, length: usize) -> Option<Secret> {
    let label = [b"tls13 ", label.as_bytes()].concat();
    let length_bytes = u16::try_from(length).ok()?.to_be_bytes();
    let info = [&length_bytes[..], &[u8::try_from(label.len()).ok()?], &label, &[0]];
    let mut bytes = Zeroizing::new(vec![0; length]);
    secret.expand(&info, Length(length)).and_then(|okm| okm.fill(&mut bytes)).ok()?;
    Some(bytes)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Returns the record that tells the change, encrypted with the present key as the next one.
fn record(cipher: &'static aead::Algorithm, key: &[u8], iv: &[u8], sent: u64) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(cipher, key).ok()?);
    let mut nonce: [u8; NONCE] = iv.try_into().ok()?;
    let number = [&[0; 4][..], &sent.to_be_bytes()].concat();
    nonce.iter_mut().zip(number).for_each(|(byte, number)| *byte ^= number);
    let (nonce, mut message) = (Nonce::assume_unique_for_key(nonce), CHANGE.to_vec());
    key.seal_in_place_append_tag(nonce, Aad::from(HEAD), &mut message).ok()?;
    Some([&HEAD[..], &message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// The secret of a client, its key and its nonce in RFC 8448, 3.
    #[test]
    fn keys_are_those_of_the_example_in_the_rfc() {
        let secret = hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
        let (key, iv) = keys(hkdf::HKDF_SHA256, &secret, 16).unwrap();
        assert_eq!(key.as_slice(), hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(iv.as_slice(), hex("5b78923dee08579033e523d9"));
    }

    #[test]
    fn a_change_is_a_record_that_the_present_key_opens() {
        let (key, iv) = ([7; 32], [9; NONCE]);
        let mut record = record(&aead::AES_256_GCM, &key, &iv, 1).unwrap();
        let mut nonce = iv;
        nonce[NONCE - 1] ^= 1;
        let key = LessSafeKey::new(UnboundKey::new(&aead::AES_256_GCM, &key).unwrap());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (head, body) = record.split_at_mut(HEAD.len());
        assert_eq!(usize::from(head[4]), body.len());
        assert_eq!(key.open_in_place(nonce, Aad::from(HEAD), body).unwrap(), CHANGE);
    }
}
