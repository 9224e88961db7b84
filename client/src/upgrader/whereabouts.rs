//! Whether a socket is bound where a program asks for it, in whatever words it asks.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf, absolute};

use super::Address;

/// Whether a socket that is bound at `bound` is what one gets who asks for `asked`.
///
/// Port 0 stands for any port. An address that stands for all of the machine's is none of them: who
/// asks for one does not want to be reached at the others.
pub(crate) fn is_at(bound: &Address, asked: &Address) -> bool {
    match (bound, asked) {
        (Address::Ip(bound), Address::Ip(asked)) => is_ip(*bound, *asked),
        (Address::Path(bound), Address::Path(asked)) => is_path(bound, asked),
        _ => bound == asked,
    }
}

fn is_ip(bound: SocketAddr, asked: SocketAddr) -> bool {
    let interface = match (bound, asked) {
        (SocketAddr::V6(bound), SocketAddr::V6(asked)) => {
            asked.scope_id() == 0 || bound.scope_id() == asked.scope_id()
        }
        _ => true,
    };
    let port = asked.port() == 0 || bound.port() == asked.port();
    interface && port && bound.ip().to_canonical() == asked.ip().to_canonical()
}

/// A path that was bound as a relative one began in a directory that nobody knows any more: it
/// counts as the same when the other one ends with it.
fn is_path(bound: &Path, asked: &Path) -> bool {
    if bound == asked {
        return true;
    }
    let asked = resolved(asked);
    match bound.is_absolute() {
        true => resolved(bound) == asked,
        false => asked.ends_with(known_part(bound)),
    }
}

/// The path without symbolic links, but for the last part: that is the socket itself. As it is
/// where its directory has gone.
fn resolved(path: &Path) -> PathBuf {
    let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent().map(Path::canonicalize), whole.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => whole,
    }
}

/// What is left of a relative path behind the last step up.
fn known_part(path: &Path) -> PathBuf {
    let parts: Vec<_> = path.components().filter(|part| *part != Component::CurDir).collect();
    let up = parts.iter().rposition(|part| *part == Component::ParentDir);
    parts.into_iter().skip(up.map_or(0, |last| last + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(bound: &str, asked: &str) -> bool {
        is_at(&Address::Ip(bound.parse().unwrap()), &Address::Ip(asked.parse().unwrap()))
    }

    fn path(bound: impl Into<PathBuf>, asked: impl Into<PathBuf>) -> bool {
        is_at(&Address::Path(bound.into()), &Address::Path(asked.into()))
    }

    #[test]
    fn one_address_has_many_spellings() {
        assert!(ip("127.0.0.1:80", "127.0.0.1:80"));
        assert!(ip("[::1]:80", "[0:0:0:0:0:0:0:1]:80"));
        assert!(ip("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(ip("[fe80::1%2]:80", "[fe80::1]:80"), "where the interface is not said");
        assert!(!ip("[fe80::1%2]:80", "[fe80::1%3]:80"));
        assert!(!ip("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[test]
    fn port_0_is_any_port_of_that_address() {
        assert!(ip("127.0.0.1:4711", "127.0.0.1:0"));
        assert!(!ip("127.0.0.1:4711", "127.0.0.2:0"));
        assert!(!ip("127.0.0.1:4711", "127.0.0.1:4712"));
    }

    #[test]
    fn all_addresses_are_not_one_of_them() {
        assert!(ip("0.0.0.0:80", "0.0.0.0:80") && ip("[::]:80", "[::]:0"));
        assert!(!ip("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!ip("127.0.0.1:80", "0.0.0.0:80"));
        assert!(!ip("[::]:80", "0.0.0.0:80"));
    }

    #[test]
    fn a_relative_path_begins_in_the_directory_of_the_process() {
        let here = std::env::current_dir().unwrap();
        assert!(path(here.join("socket"), "socket"));
        assert!(path(here.join("socket"), "./socket"));
        assert!(!path("/elsewhere/socket", "socket"));
    }

    #[test]
    fn a_path_that_was_bound_as_a_relative_one_is_known_by_its_end() {
        assert!(path("run/socket", "run/socket"));
        assert!(path("./run/socket", "/srv/run/socket"));
        assert!(path("../run/socket", "/srv/run/socket"));
        assert!(!path("run/socket", "/srv/other/socket"));
        assert!(!path("run/socket", "run/other"));
    }

    #[test]
    fn a_name_is_no_path() {
        let name = Address::Abstract(b"socket".to_vec());
        assert!(!is_at(&name, &Address::Path("socket".into())));
        assert!(is_at(&name, &name.clone()));
    }
}
