//! Commands as Redis reads them: a list of texts.

use zeroize::Zeroizing;

/// Returns the command of these words. It is wiped, since one of them may be a password.
pub(super) fn command(words: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    // Reserved at once: a buffer that grows leaves copies.
    let length: usize = words.iter().map(|word| word.len() + HEAD).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + length));
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// More than what stands before and after a word.
const HEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_length_of_each_word() {
        assert_eq!(command(&[b"SELECT", b"12"])[..], b"*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"[..]);
        assert_eq!(command(&[b"AUTH", b""])[..], b"*2\r\n$4\r\nAUTH\r\n$0\r\n\r\n"[..]);
    }
}
