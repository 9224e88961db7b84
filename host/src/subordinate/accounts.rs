//! The accounts of passwd(5): a uid that has one is a user of its own, whatever range it lies in.

use std::collections::{BTreeMap, BTreeSet};

/// Names and ids of local accounts.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) ids: BTreeSet<u32>,
    names: BTreeMap<String, u32>,
}

impl Accounts {
    /// Takes what it can read, line by line: of equal names the first.
    pub(super) fn parse(passwd: &str) -> Self {
        let mut accounts = Self::default();
        for (name, uid) in passwd.lines().filter_map(account) {
            accounts.ids.insert(uid);
            accounts.names.entry(name.to_owned()).or_insert(uid);
        }
        accounts
    }

    pub(super) fn uid_of(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }
}

fn account(line: &str) -> Option<(&str, u32)> {
    let mut parts = line.split(':');
    let (name, uid) = (parts.next()?, parts.nth(1)?);
    Some((name, uid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_what_is_none_is_left_out() {
        let accounts = Accounts::parse("root:x:0:0::/:\n+::::::\nann:x:7:7\nann:x:8:8\nbad:x:-1\n");
        assert_eq!(accounts.ids, [0, 7, 8].into());
        assert_eq!(
            ["root", "ann", "bad"].map(|name| accounts.uid_of(name)),
            [Some(0), Some(7), None]
        );
    }
}
