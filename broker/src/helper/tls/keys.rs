//! The keys of one direction as the kernel takes them: the structures of linux/tls.h, byte by byte.

use rustls::ConnectionTrafficSecrets;
use zeroize::Zeroizing;

/// A cipher that the kernel may have, as it calls it: TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256 and
/// TLS_CIPHER_CHACHA20_POLY1305. The part of a nonce that it calls the salt has so many bytes.
struct Cipher {
    number: u16,
    salt: usize,
}

const AES_GCM_128: Cipher = Cipher { number: 51, salt: 4 };
const AES_GCM_256: Cipher = Cipher { number: 52, salt: 4 };
const CHACHA20_POLY1305: Cipher = Cipher { number: 54, salt: 0 };
/// TLS_1_3_VERSION.
const TLS_1_3: u16 = 0x0304;
/// The longest of the structures.
const LONGEST: usize = 56;

/// Returns the structure for what is received with these secrets of TLS 1.3, of which so many records have been.
/// `None` if the kernel does not know the cipher.
pub(super) fn received(
    secrets: &ConnectionTrafficSecrets,
    taken: u64,
) -> Option<Zeroizing<Vec<u8>>> {
    let (cipher, key, iv) = parts(secrets)?;
    structure(&cipher, key, iv, taken)
}

/// Returns the structure for what is sent with a new key and nonce, for the cipher of these secrets.
pub(super) fn sent(
    secrets: &ConnectionTrafficSecrets,
    key: &[u8],
    iv: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (cipher, ..) = parts(secrets)?;
    structure(&cipher, key, iv, 0)
}

fn parts(secrets: &ConnectionTrafficSecrets) -> Option<(Cipher, &[u8], &[u8])> {
    let (cipher, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (AES_GCM_128, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (AES_GCM_256, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (CHACHA20_POLY1305, key, iv),
        _ => return None,
    };
    Some((cipher, key.as_ref(), iv.as_ref()))
}

fn structure(cipher: &Cipher, key: &[u8], iv: &[u8], used: u64) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, iv) = iv.split_at_checked(cipher.salt)?;
    // It never grows, so that no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    bytes.extend_from_slice(&TLS_1_3.to_ne_bytes());
    bytes.extend_from_slice(&cipher.number.to_ne_bytes());
    for part in [iv, key, salt, &used.to_be_bytes()] {
        bytes.extend_from_slice(part);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// A nonce and a key in which each byte has its place's number.
    const IV: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    const USED: u64 = 0x0102_0304_0506_0708;

    fn key<const N: usize>() -> [u8; N] {
        std::array::from_fn(|at| 100 + u8::try_from(at).unwrap())
    }

    /// The bytes from an offset on.
    fn part<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
        bytes[offset..offset + N].try_into().unwrap()
    }

    /// Compares a structure with the one of the C library's headers.
    macro_rules! assert_is {
        ($kind:ident, $cipher:expr, $number:expr, $key:literal, $salt:literal) => {
            let bytes = structure(&$cipher, &key::<$key>(), &IV, USED).unwrap();
            assert_eq!((bytes.len(), bytes.capacity()), (size_of::<libc::$kind>(), LONGEST));
            let number = |at| u16::from_ne_bytes(part(&bytes, at));
            let version = offset_of!(libc::tls_crypto_info, version);
            let cipher = offset_of!(libc::tls_crypto_info, cipher_type);
            assert_eq!((number(version), number(cipher)), (libc::TLS_1_3_VERSION, $number));
            assert_eq!(part(&bytes, offset_of!(libc::$kind, key)), key::<$key>());
            let salt: [u8; $salt] = part(&bytes, offset_of!(libc::$kind, salt));
            assert_eq!(salt, IV[..$salt]);
            let iv: [u8; 12 - $salt] = part(&bytes, offset_of!(libc::$kind, iv));
            assert_eq!(iv, IV[$salt..]);
            let used = offset_of!(libc::$kind, rec_seq);
            assert_eq!(part(&bytes, used), [1, 2, 3, 4, 5, 6, 7, 8]);
        };
    }

    #[test]
    fn each_cipher_has_the_structure_of_the_kernel() {
        use libc::{TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_CHACHA20_POLY1305};
        assert_is!(tls12_crypto_info_aes_gcm_128, AES_GCM_128, TLS_CIPHER_AES_GCM_128, 16, 4);
        assert_is!(tls12_crypto_info_aes_gcm_256, AES_GCM_256, TLS_CIPHER_AES_GCM_256, 32, 4);
        assert_is!(
            tls12_crypto_info_chacha20_poly1305,
            CHACHA20_POLY1305,
            TLS_CIPHER_CHACHA20_POLY1305,
            32,
            0
        );
    }

    #[test]
    fn secrets_of_rustls_are_told_by_their_cipher() {
        let secrets = ConnectionTrafficSecrets::Aes256Gcm { key: key().into(), iv: IV.into() };
        let expected = structure(&AES_GCM_256, &key::<32>(), &IV, USED);
        assert_eq!(received(&secrets, USED), expected);
        let secrets =
            ConnectionTrafficSecrets::Chacha20Poly1305 { key: key().into(), iv: IV.into() };
        let expected = structure(&CHACHA20_POLY1305, &[1; 32], &[2; 12], 0);
        assert_eq!(sent(&secrets, &[1; 32], &[2; 12]), expected);
    }
}
