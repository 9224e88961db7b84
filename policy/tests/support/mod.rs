//! A machine with a few users and groups, whose name service fails for some names.

use fdbroker_policy::{Gid, LookupError, Names, Uid};

pub(crate) struct Machine;

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
