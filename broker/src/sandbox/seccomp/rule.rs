//! A rule of a filter: what must hold of the arguments of one system call.

use std::collections::BTreeMap;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::sandbox::SandboxError;

/// What must hold of an argument of a system call, counted from 0. Only the lower 32 bits are looked at where the kernel
/// looks at no more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// It is this.
    Is(u8, u32),
    /// It is anything but this.
    IsNot(u8, u32),
    /// It has no other bit than these.
    Within(u8, u32),
    /// Of the bits of a mask it has these.
    Masked(u8, u32, u32),
    /// It is a null pointer.
    Null(u8),
    /// It is the number of this process.
    Oneself(u8),
}

/// The rules of a filter: a call without rules is meant whatever its arguments are.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A rule that holds where all of its checks do.
pub(super) fn rule(checks: &[Check]) -> Result<SeccompRule, SandboxError> {
    let conditions: Result<Vec<_>, _> = checks.iter().map(|check| check.condition()).collect();
    conditions
        .and_then(SeccompRule::new)
        .map_err(|error| SandboxError::new("making a rule of a system call filter", error))
}

impl Check {
    fn condition(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        use SeccompCmpArgLen::{Dword, Qword};
        let (argument, width, operator, value) = match self {
            Self::Is(argument, value) => (argument, Dword, SeccompCmpOp::Eq, value.into()),
            Self::IsNot(argument, value) => (argument, Dword, SeccompCmpOp::Ne, value.into()),
            Self::Within(argument, mask) => {
                (argument, Dword, SeccompCmpOp::MaskedEq((!mask).into()), 0)
            }
            Self::Masked(argument, mask, value) => {
                (argument, Dword, SeccompCmpOp::MaskedEq(mask.into()), value.into())
            }
            Self::Null(argument) => (argument, Qword, SeccompCmpOp::Eq, 0),
            Self::Oneself(argument) => {
                (argument, Dword, SeccompCmpOp::Eq, std::process::id().into())
            }
        };
        SeccompCondition::new(argument, width, operator, value)
    }
}
