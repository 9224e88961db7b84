//! Files as they lie on machines, with names that nobody here has.

use std::os::unix::net::UnixListener;

use fdbroker_policy::{Gid, LookupError};

use super::*;

/// A name service of which nothing is in /etc/passwd.
struct Service;

impl Names for Service {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        match name {
            "ann.example" => Ok(Some(Uid(1_990_001))),
            "ben.example" => Ok(Some(Uid(1_990_002))),
            "some.service" => Ok(Some(Uid(990))),
            "not.now" => Err(LookupError("timed out".to_owned())),
            _ => Ok(None),
        }
    }

    fn group(&self, _: &str) -> Result<Option<Gid>, LookupError> {
        Ok(None)
    }
}

fn read(text: impl AsRef<[u8]>) -> (SubordinateIds, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("subuid");
    std::fs::write(&path, text).unwrap();
    subordinate_ids(&path, &Service).unwrap()
}

fn users(ids: &SubordinateIds, of: &[u32]) -> Vec<u32> {
    of.iter().map(|uid| ids.user_of(Uid(*uid)).0).collect()
}

#[test]
fn owners_are_names_or_numbers() {
    let (ids, odd) = read("ann.example:3000000:65536\n1990002:3065536:65536\n");
    let of = [2_999_999, 3_000_000, 3_065_535, 3_065_536, 3_131_072, 1_990_001];
    let as_whom = [2_999_999, 1_990_001, 1_990_001, 1_990_002, 3_131_072, 1_990_001];
    assert_eq!((users(&ids, &of), odd), (as_whom.to_vec(), vec![]));
}

#[test]
fn ranges_of_system_users_and_of_nobody_are_one_user_each() {
    let text = "root:3000000:1000\ncontainers:3001000:1000\nnot.now:3002000:1000\n\
                some.service:3003000:1000\n";
    let (ids, odd) = read(text);
    let of = [3_000_999, 3_001_999, 3_002_999, 3_003_999];
    assert_eq!(users(&ids, &of), [3_000_000, 3_001_000, 3_002_000, 3_003_000]);
    assert_eq!(odd.len(), 1);
    assert!(odd[0].contains("could not be looked up (lines: 2, first: 2)"), "{odd:?}");
}

#[test]
fn an_owner_that_lies_in_anothers_range_counts_as_itself() {
    let (ids, _) = read("ann.example:1990000:65536\nben.example:3000000:9\n");
    assert_eq!(users(&ids, &[1_990_000, 1_990_002, 3_000_000]), [1_990_001, 1_990_002, 1_990_002]);
}

#[test]
fn what_is_odd_about_a_file_is_told() {
    let (ids, odd) = read(b"ann.example:3000000:9\nann\n\xff:1\nben.example:3000005:9\n");
    assert_eq!(users(&ids, &[3_000_004, 3_000_008, 3_000_009]), [1_990_001, 3_000_005, 1_990_002]);
    assert_eq!(odd.len(), 2);
    assert!(odd[0].contains("OWNER:FIRST:COUNT and are ignored (lines: 2, first: 2)"), "{odd:?}");
    assert!(odd[1].contains("ranges of different owners overlap (first id: 3000005)"), "{odd:?}");
}

#[test]
fn a_missing_file_has_no_ranges_and_one_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("subuid");
    let missing = subordinate_ids(&path, &Service).unwrap();
    assert_eq!(missing, (SubordinateIds::default(), vec![]));
    assert!(subordinate_ids(directory.path(), &Service).is_err());
    let _socket = UnixListener::bind(&path).unwrap();
    assert!(subordinate_ids(&path, &Service).is_err());
}

#[test]
fn a_file_that_is_too_large_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("subuid");
    let told = |text: String| {
        std::fs::write(&path, text).unwrap();
        subordinate_ids(&path, &Service).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(told("# comment\n".repeat(MOST_LINES + 1)), "");
    assert!(told("1000:70000:1\n".repeat(MOST_LINES + 1)).contains("16384 lines"));
    assert!(told("#".repeat(5 << 20)).contains("bytes"));
}

#[test]
fn many_names_that_nobody_has_do_not_take_long() {
    let lines = (0..16_384).map(|line| format!("nobody{line}:{}:65536\n", 100_000 + line * 65_536));
    let began = Instant::now();
    let (ids, odd) = read(lines.collect::<String>());
    assert_eq!((ids.ranges().len(), odd.len()), (16_384, 1));
    assert!(began.elapsed() < LOOKING_UP * 3);
}

#[test]
fn while_nothing_is_known_high_ids_are_one_user_and_accounts_are_not() {
    let ids = unknown_subordinate_ids();
    let one = ids.user_of(Uid(3_000_000));
    assert_eq!(ids.user_of(Uid(1_000_000_000)), one);
    assert_eq!(users(&ids, &[0, 1000, 65_534]), [0, 1000, 65_534]);
}
