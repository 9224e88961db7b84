//! A policy for the tests of this crate.

use fdbroker_policy::{Gid, LookupError, Names, Policy, SourceText, Uid, load};

struct Nobody;

impl Names for Nobody {
    fn user(&self, _: &str) -> Result<Option<Uid>, LookupError> {
        Ok(None)
    }

    fn group(&self, _: &str) -> Result<Option<Gid>, LookupError> {
        Ok(None)
    }
}

/// A policy of these rules about the tag `web`.
pub(crate) fn policy(rules: &str) -> Policy {
    let text = format!("version = 1\n[tags.web]\nid = 10\n{rules}");
    load(&[SourceText::new("p", text)], &Nobody).expect("loads")
}
