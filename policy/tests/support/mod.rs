//! A machine with a few users and groups, whose name service fails for some names.

use fdbroker_policy::{Findings, Gid, LookupError, Names, Policy, SourceText, Uid, load};

pub(crate) struct Machine;

/// Loads a policy of one file on this machine.
pub(crate) fn load_one(path: &str, text: &str) -> Result<Policy, Findings> {
    load(&[SourceText::new(path, text)], &Machine)
}

impl Names for Machine {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        match name {
            "vpn" => Ok(Some(Uid(501))),
            "guest" => Ok(Some(Uid(502))),
            "fdbroker" => Ok(Some(Uid(990))),
            "nobody" => Ok(Some(Uid(65534))),
            "remote" => Err(LookupError("the directory does not answer".to_owned())),
            _ => Ok(None),
        }
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        match name {
            "www-data" => Ok(Some(Gid(33))),
            "nogroup" => Ok(Some(Gid(65534))),
            "remote" => Err(LookupError("the directory does not answer".to_owned())),
            _ => Ok(None),
        }
    }
}
