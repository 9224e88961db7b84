//! System call filters, see seccomp(2): how they are compiled and installed. Which calls are whose is in [`worker`] and
//! [`supervisor`].
//!
//! The worker is started by the supervisor and so is under both filters; it installs its own itself, once its privilege
//! is gone.

pub(crate) mod supervisor;
pub(crate) mod worker;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::SandboxError;
use crate::sys::trap;

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
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs the worker's filters.
///
/// # Errors
/// When they do not compile.
pub(super) fn confine_worker(journal: bool) -> Result<Result<String, String>, SandboxError> {
    let Some(arch) = arch() else { return Ok(Err(no_filter("this processor has no filter yet"))) };
    let allowed = worker::rules(journal)?;
    let number = allowed.len();
    let threads = compile(worker::fallbacks(), errno(libc::ENOSYS), SeccompAction::Allow, arch)?;
    let allowed = compile(allowed, SeccompAction::Allow, SeccompAction::Trap, arch)?;
    // The last one refuses to install another.
    let installed = trap::tell_refused_calls()
        .map_err(|error| error.to_string())
        .and_then(|()| install(&threads))
        .and_then(|()| install(&allowed));
    Ok(installed.map(|()| format!("a filter that knows {number} system calls")).map_err(no_filter))
}

/// Installs the supervisor's filter, which its worker inherits.
///
/// # Errors
/// When it does not compile.
pub(super) fn confine_supervisor() -> Result<Result<String, String>, SandboxError> {
    let Some(arch) = arch() else { return Ok(Err(no_filter("this processor has no filter yet"))) };
    let refused = supervisor::refused();
    let number = refused.len();
    let filter = compile(refused, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    let installed = install(&filter);
    Ok(installed
        .map(|()| format!("a filter that refuses {number} system calls"))
        .map_err(no_filter))
}

fn no_filter(why: impl std::fmt::Display) -> String {
    format!("there is no system call filter (seccomp): {why}")
}

/// The architecture, where filters are made for it.
fn arch() -> Option<TargetArch> {
    let arch = std::env::consts::ARCH.try_into().ok();
    arch.filter(|arch| matches!(arch, TargetArch::x86_64 | TargetArch::aarch64))
}

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Compiles a filter: `of` for what the rules mean, `otherwise` for the rest.
fn compile(
    rules: Rules,
    of: SeccompAction,
    otherwise: SeccompAction,
    arch: TargetArch,
) -> Result<BpfProgram, SandboxError> {
    SeccompFilter::new(rules, otherwise, of, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| SandboxError::new("compiling a system call filter", error))
}

fn install(filter: &BpfProgram) -> Result<(), String> {
    apply_filter(filter).map_err(|error| error.to_string())
}

/// A rule that holds where all of its checks do.
fn rule(checks: &[Check]) -> Result<SeccompRule, SandboxError> {
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
