//! The account that the worker runs as.

use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use fdbroker_policy::{Account, Gid, LookupError, Uid};
use fdbroker_types::quoted;
use nix::unistd::getgrouplist;

use crate::names::threads::in_time;
use crate::names::{Entry, Lookup, Question, SystemNames};

/// How long the groups of a user may take.
const LONGEST: Duration = Duration::from_secs(10);

/// A user with its primary group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: Uid,
    /// Its primary group; for a number without an account, the group of the same number.
    pub gid: Gid,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// An account that the worker cannot run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// There is no user of this name.
    NotFound(String),
    /// Nobody can tell, for the reason given.
    Lookup {
        /// The name or number that was looked up.
        account: Account,
        /// What the name service says.
        reason: String,
    },
}

/// Looks up the user that a policy names for the worker.
///
/// A name must exist. A number need not have an account.
///
/// # Errors
/// [`AccountError`] where the name does not exist or the name service fails.
pub fn account(account: &Account) -> Result<Identity, AccountError> {
    account_by(account, &SystemNames::default())
}

/// The same, by these names.
///
/// # Errors
/// As [`account()`].
pub fn account_by(account: &Account, names: &dyn Lookup) -> Result<Identity, AccountError> {
    let failed = |LookupError(reason)| AccountError::Lookup { account: account.clone(), reason };
    match account {
        Account::Name(name) => {
            let found = names.look_up(&Question::User(name.clone())).map_err(failed)?;
            found.map(Identity::from).ok_or_else(|| AccountError::NotFound(name.clone()))
        }
        Account::Number(uid) => {
            let found = names.look_up(&Question::Number(*uid)).map_err(failed)?;
            Ok(found.map_or_else(|| Identity::nameless(*uid), Identity::from))
        }
    }
}

impl Identity {
    /// Every group of the user, the primary one too, as it would get at login. A user without an account is in none.
    ///
    /// # Errors
    /// [`AccountError::Lookup`] where the name service fails.
    pub fn groups(&self) -> Result<Vec<Gid>, AccountError> {
        let Some(name) = &self.name else { return Ok(Vec::new()) };
        let failed =
            |reason: String| AccountError::Lookup { account: Account::Name(name.clone()), reason };
        let c_name = CString::new(name.as_str()).map_err(|error| failed(error.to_string()))?;
        let gid = self.gid.0.into();
        let groups = in_time(LONGEST, move || getgrouplist(&c_name, gid));
        let groups = groups.ok_or_else(|| failed("the name service does not answer".to_owned()))?;
        let groups = groups.map_err(|errno| failed(errno.desc().to_owned()))?;
        Ok(groups.into_iter().map(|gid| Gid(gid.as_raw())).collect())
    }

    const fn nameless(uid: Uid) -> Self {
        Self { uid, gid: Gid(uid.0), name: None }
    }
}

impl From<Entry> for Identity {
    fn from(user: Entry) -> Self {
        Self { uid: Uid(user.id), gid: Gid(user.gid), name: Some(user.name) }
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => write!(
                f,
                "there is no user {shown} for the worker to run as: create it (`useradd --system \
                 --no-create-home --shell /usr/sbin/nologin {name}`), or name another as `user` in the \
                 policy's [broker]",
                shown = quoted(name)
            ),
            Self::Lookup { account, reason } => write!(
                f,
                "the worker's user {} could not be looked up: {reason}; repair the name \
                 service, or write the user's number",
                quoted(&account.to_string())
            ),
        }
    }
}

impl std::error::Error for AccountError {}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSED: Uid = Uid(3_999_999_999);

    #[test]
    fn a_name_gives_its_user_and_primary_group() {
        let root = Identity { uid: Uid(0), gid: Gid(0), name: Some("root".to_owned()) };
        assert_eq!(account(&Account::Name("root".to_owned())), Ok(root.clone()));
        assert_eq!(account(&Account::Number(Uid(0))), Ok(root));
    }

    #[test]
    fn a_number_without_an_account_gets_the_group_of_the_same_number() {
        let nameless = Identity { uid: UNUSED, gid: Gid(UNUSED.0), name: None };
        assert_eq!(account(&Account::Number(UNUSED)), Ok(nameless));
    }

    #[test]
    fn a_user_is_in_its_primary_group_and_a_number_without_an_account_in_none() {
        let root = account(&Account::Name("root".to_owned())).unwrap();
        assert!(root.groups().unwrap().contains(&Gid(0)));
        assert_eq!(account(&Account::Number(UNUSED)).unwrap().groups(), Ok(Vec::new()));
    }

    #[test]
    fn a_name_must_exist() {
        for name in ["no-such-user-here", "root\0", ""] {
            let name = name.to_owned();
            assert_eq!(account(&Account::Name(name.clone())), Err(AccountError::NotFound(name)));
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let missing = AccountError::NotFound("fdbroker".to_owned()).to_string();
        assert!(missing.contains("\"fdbroker\"") && missing.contains("useradd"), "{missing}");
        assert!(missing.contains("`user`") && missing.contains("[broker]"), "{missing}");
    }
}
