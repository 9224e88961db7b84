//! Names of users and groups, as the machine's name service knows them.

use fdbroker_policy::{Gid, LookupError, Names, Uid};
use nix::errno::Errno;
use nix::unistd::{Group, User};

/// The machine's name service: getpwnam_r(3) and getgrnam_r(3).
///
/// A lookup can block for as long as the name service takes, so never ask from an event loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        let found = look_up(name, User::from_name)?;
        Ok(found.map(|user| Uid(user.uid.as_raw())))
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        let found = look_up(name, Group::from_name)?;
        Ok(found.map(|group| Gid(group.gid.as_raw())))
    }
}

fn look_up<T>(
    name: &str,
    ask: impl Fn(&str) -> nix::Result<Option<T>>,
) -> Result<Option<T>, LookupError> {
    // No account can have such a name, and the name service would see only what stands before the NUL.
    if name.is_empty() || name.contains('\0') {
        return Ok(None);
    }
    ask(name).or_else(|errno| {
        if means_not_found(errno) { Ok(None) } else { Err(LookupError(errno.desc().to_owned())) }
    })
}

/// Some name services report an absent entry as an error: getpwnam(3), "ERRORS", lists these.
fn means_not_found(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_user_0_and_group_0() {
        assert_eq!(SystemNames.user("root"), Ok(Some(Uid(0))));
        assert_eq!(SystemNames.group("root"), Ok(Some(Gid(0))));
    }

    #[test]
    fn a_name_that_nobody_has_is_not_found() {
        assert_eq!(SystemNames.user("no-such-user-here"), Ok(None));
        assert_eq!(SystemNames.group("no-such-group-here"), Ok(None));
    }

    #[test]
    fn a_name_with_nul_is_not_found_and_not_cut_short() {
        assert_eq!(SystemNames.user("root\0x"), Ok(None));
        assert_eq!(SystemNames.group("root\0"), Ok(None));
        assert_eq!(SystemNames.user(""), Ok(None));
    }

    #[test]
    fn a_name_service_that_fails_is_told_from_one_that_finds_nothing() {
        let failing = look_up("ann", |_| Err::<Option<u32>, _>(Errno::EIO));
        assert_eq!(failing, Err(LookupError("I/O error".to_owned())));
        let absent = look_up("ann", |_| Err::<Option<u32>, _>(Errno::ENOENT));
        assert_eq!(absent, Ok(None));
    }
}
