//! What proves to a server that the password is known, and is worth nothing for another connection.

use std::iter::zip;

use fdbroker_policy::MysqlMethod;
use sha1::Sha1;
use sha2::digest::Output;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// What the server chooses for this connection.
pub(super) type Nonce = [u8; 20];

/// Returns the answer of a method to a nonce.
pub(super) fn scramble(method: MysqlMethod, password: &[u8], nonce: &Nonce) -> Zeroizing<Vec<u8>> {
    match method {
        MysqlMethod::CachingSha2Password => masked::<Sha256>(password, |twice| {
            Sha256::new().chain_update(twice).chain_update(nonce)
        }),
        MysqlMethod::NativePassword => {
            masked::<Sha1>(password, |twice| Sha1::new().chain_update(nonce).chain_update(twice))
        }
    }
}

/// Returns the hash of the password, masked with a hash over the nonce and the hash of the hash.
fn masked<D: Digest>(password: &[u8], mask: impl FnOnce(&[u8]) -> D) -> Zeroizing<Vec<u8>> {
    let mut once = D::digest(password);
    let mut twice: Output<D> = D::digest(&once);
    let mask = mask(&twice).finalize();
    let masked = zip(&once, &mask).map(|(byte, mask)| byte ^ mask).collect();
    once.zeroize();
    twice.zeroize();
    Zeroizing::new(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A nonce of a real server, and what another client has answered to it.
    #[test]
    fn caching_sha2_password_answers_as_other_clients_do() {
        let nonce =
            [90, 105, 74, 126, 30, 48, 37, 56, 3, 23, 115, 127, 69, 22, 41, 84, 32, 123, 43, 118];
        let expected = [
            102, 32, 5, 35, 143, 161, 140, 241, 171, 232, 56, 139, 43, 14, 107, 196, 249, 170, 147,
            60, 220, 204, 120, 178, 214, 15, 184, 150, 26, 61, 57, 235,
        ];
        let answer = scramble(MysqlMethod::CachingSha2Password, b"secret", &nonce);
        assert_eq!(answer.as_slice(), expected);
    }

    /// Computed by Python's hashlib, as the documentation of the method says.
    #[test]
    fn mysql_native_password_answers_as_documented() {
        let answer = scramble(MysqlMethod::NativePassword, b"secret", b"0123456789abcdefghij");
        assert_eq!(
            answer.as_slice(),
            [
                245, 202, 195, 243, 179, 223, 33, 51, 254, 181, 125, 182, 130, 199, 30, 110, 212,
                51, 169, 136,
            ]
        );
    }
}
