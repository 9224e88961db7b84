//! The answer to a request, of any kind.

use fdbroker_wire::Info;
use fdbroker_wire::claim::Claimed;
use fdbroker_wire::version2::Found;

use crate::{Deposit, Error, Listed, ManyDeposits};

/// The answer to a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// To `add`, `add_numbered`, `del`, `release`, `release_to`, `ready` and `withdraw`: it was done.
    Done,
    /// To `get`.
    Deposit(Deposit),
    /// To `tag`.
    Info(Info),
    /// To `find`.
    Found(Found),
    /// To `list`.
    Listed(Vec<Listed>),
    /// To `reload`, `purge` and `status`.
    Report(String),
    /// To `get_many` and `take_many`.
    Many(ManyDeposits),
    /// To `add_many` and `del_many`: for each slot.
    DoneMany(Vec<Result<(), Error>>),
    /// To `claim` and `claim_and_settle`.
    Claimed(Claimed),
    /// To `instance`.
    Instance(i64),
}

macro_rules! outcomes {
    ($($of:ty => $outcome:ident,)*) => {
        $(
            impl From<$of> for Outcome {
                fn from(outcome: $of) -> Self {
                    Self::$outcome(outcome)
                }
            }
        )*
    };
}

outcomes! {
    Deposit => Deposit,
    Info => Info,
    Found => Found,
    Vec<Listed> => Listed,
    String => Report,
    ManyDeposits => Many,
    Vec<Result<(), Error>> => DoneMany,
    Claimed => Claimed,
    i64 => Instance,
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}
