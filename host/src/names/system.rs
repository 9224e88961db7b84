//! The machine's name service: getpwnam_r(3), getgrnam_r(3) and getpwuid_r(3).

use fdbroker_policy::LookupError;
use nix::errno::Errno;
use nix::unistd::{Group, User};

use super::question::{Answer, Entry, Question};

/// Asks the machine's name service. This blocks for as long as that takes: ask through
/// [`SystemNames`](super::SystemNames).
///
/// # Errors
/// [`LookupError`] where it fails.
pub fn ask_name_service(question: &Question) -> Answer {
    if !question.is_possible() {
        return Ok(None);
    }
    let found = match question {
        Question::User(name) => User::from_name(name).map(|found| found.map(Entry::from)),
        Question::Group(name) => Group::from_name(name).map(|found| found.map(Entry::from)),
        Question::Number(uid) => User::from_uid(uid.0.into()).map(|found| found.map(Entry::from)),
    };
    said(found)
}

fn said(found: nix::Result<Option<Entry>>) -> Answer {
    found.or_else(|errno| {
        if means_not_found(errno) { Ok(None) } else { Err(LookupError(errno.desc().to_owned())) }
    })
}

/// Some name services report an absent entry as an error: getpwnam(3), "ERRORS", lists these.
fn means_not_found(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESRCH)
}

impl From<User> for Entry {
    fn from(user: User) -> Self {
        Self { name: user.name, id: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

impl From<Group> for Entry {
    fn from(group: Group) -> Self {
        Self { name: group.name, id: group.gid.as_raw(), gid: group.gid.as_raw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Option<u32> {
        let found = ask_name_service(&Question::User(name.to_owned())).unwrap();
        found.map(|found| found.id)
    }

    fn group(name: &str) -> Option<u32> {
        let found = ask_name_service(&Question::Group(name.to_owned())).unwrap();
        found.map(|found| found.id)
    }

    #[test]
    fn root_is_user_0_and_group_0() {
        assert_eq!((user("root"), group("root")), (Some(0), Some(0)));
    }

    #[test]
    fn a_name_that_nobody_has_is_not_found() {
        assert_eq!((user("no-such-user-here"), group("no-such-group-here")), (None, None));
    }

    #[test]
    fn a_name_with_nul_is_not_found_and_not_cut_short() {
        assert_eq!((user("root\0x"), group("root\0"), user("")), (None, None, None));
    }

    #[test]
    fn a_name_service_that_fails_is_told_from_one_that_finds_nothing() {
        assert_eq!(said(Err(Errno::EIO)), Err(LookupError("I/O error".to_owned())));
        assert_eq!(said(Err(Errno::ENOENT)), Ok(None));
    }
}
