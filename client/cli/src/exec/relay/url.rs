//! The path of a socket in a URL.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A URL that ends with the path, in which each byte that is no plain one is encoded.
pub(super) fn with_path(start: &str, path: &Path) -> String {
    let mut url = start.to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_url_is_encoded() {
        let path = Path::new("/run/a b%?/redis.sock");
        assert_eq!(with_path("unix://", path), "unix:///run/a%20b%25%3F/redis.sock");
    }
}
