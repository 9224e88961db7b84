//! The channel binding `tls-server-end-point` (RFC 5929): a hash of the server's certificate, by the hash function
//! that the certificate is signed with.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// The tags of DER that a certificate begins with.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Signatures, by the value of their object identifier, and the hash for each. SHA-256 stands for MD5 and SHA-1.
const SIGNATURES: [(&[u8], &Algorithm); 8] = [
    // 1.2.840.113549.1.1.N: RSA with PKCS #1
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &SHA512),
    // 1.2.840.10045.4: ECDSA
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &SHA512),
];

/// Returns the hash of a certificate, or `None` if its signature is none of those for which it is defined.
pub(super) fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let signature = signature(certificate)?;
    let (_, algorithm) = SIGNATURES.iter().find(|(known, _)| *known == signature)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// Returns the object identifier of a certificate's signature: Certificate is a sequence of what is signed, the
/// algorithm, and the signature (RFC 5280); the algorithm is a sequence that begins with the identifier.
fn signature(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, after_signed) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(after_signed, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// Returns the content of the first element, if it has this tag, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only the outer parts are there.
    fn certificate(signed: &[u8], identifier: &[u8]) -> Vec<u8> {
        let of = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82][..], &length, content].concat()
        };
        let algorithm = of(SEQUENCE, &[&of(OBJECT_IDENTIFIER, identifier)[..], &[5, 0]].concat());
        of(SEQUENCE, &[of(SEQUENCE, signed), algorithm, of(3, b"signature")].concat())
    }

    #[test]
    fn the_hash_is_the_one_that_the_certificate_is_signed_with() {
        for (identifier, algorithm) in SIGNATURES {
            let certificate = certificate(&[7; 300], identifier);
            let expected = digest(algorithm, &certificate);
            assert_eq!(hash(&certificate).as_deref(), Some(expected.as_ref()));
        }
        // Ed25519 has no hash of its own.
        assert_eq!(hash(&certificate(b"", b"\x2b\x65\x70")), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = certificate(&[7; 300], SIGNATURES[1].0);
        for length in 0..whole.len() {
            assert_eq!(hash(&whole[..length]), None, "{length}");
        }
        for wrong in
            [&b"\x30\x80"[..], b"\x30\x85\0\0\0\0\0", b"\x31\0", b"\x30\x84\xff\xff\xff\xff"]
        {
            assert_eq!(hash(wrong), None, "{wrong:?}");
        }
    }
}
