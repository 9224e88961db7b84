//! System call filters, see seccomp(2): how they are compiled and installed. Which calls are whose is in [`worker`],
//! [`helper`], [`program`] and [`supervisor`].
//!
//! What the supervisor starts is under its filter too. It installs its own itself, once its privilege is gone.

pub(crate) mod helper;
pub(crate) mod program;
mod rule;
pub(crate) mod supervisor;
pub(crate) mod worker;
mod x32;

use rustix::thread::{SecureComputingMode, secure_computing_mode};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::SandboxError;
use crate::sys::trap;
use rule::Rules;

/// Installs the worker's filters.
///
/// # Errors
/// When they do not compile.
pub(super) fn confine_worker(journal: bool) -> Result<Result<String, String>, SandboxError> {
    let Some(arch) = arch() else { return Ok(Err(no_filter(NO_FILTER_HERE))) };
    let allowed = worker::rules(journal)?;
    let number = allowed.len();
    let threads = compile(worker::fallbacks(), errno(libc::ENOSYS), SeccompAction::Allow, arch)?;
    let allowed = compile(allowed, SeccompAction::Allow, SeccompAction::Trap, arch)?;
    // The last one refuses to install another.
    let installed = trap::tell_refused_calls()
        .map_err(|error| error.to_string())
        .and_then(|()| install(&threads))
        .and_then(|()| install(&allowed));
    Ok(installed.map(|()| format!("a seccomp filter of {number} system calls")).map_err(no_filter))
}

/// Installs the supervisor's filter, which its worker inherits.
///
/// # Errors
/// When it does not compile.
pub(super) fn confine_supervisor() -> Result<Result<String, String>, SandboxError> {
    let Some(arch) = arch() else { return Ok(Err(no_filter(NO_FILTER_HERE))) };
    let refused = supervisor::refused()?;
    let number = refused.len();
    let filter = compile(refused, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    let installed = install(&x32::refused(libc::EPERM)).and_then(|()| install(&filter));
    Ok(installed
        .map(|()| format!("a seccomp filter that refuses {number} system calls"))
        .map_err(no_filter))
}

/// Installs a helper's filter, if the system has filters.
///
/// # Errors
/// When it does not compile, or cannot be installed where the supervisor's could.
pub(super) fn confine_helper() -> Result<(), SandboxError> {
    let Some(arch) = arch() else { return Ok(()) };
    let refused = errno(libc::EPERM);
    install_where_there_is_any(&compile(helper::rules()?, SeccompAction::Allow, refused, arch)?)
}

/// Installs the filters of a program of the operator's, if the system has filters.
///
/// # Errors
/// As [`confine_helper`].
pub(super) fn confine_program() -> Result<(), SandboxError> {
    let Some(arch) = arch() else { return Ok(()) };
    // The flags of clone3 are out of a filter's reach.
    let threads = compile(worker::fallbacks(), errno(libc::ENOSYS), SeccompAction::Allow, arch)?;
    install_where_there_is_any(&threads)?;
    let refused = errno(libc::EPERM);
    install_where_there_is_any(&compile(program::refused()?, refused, SeccompAction::Allow, arch)?)
}

/// A system without filters has been reported by the supervisor.
fn install_where_there_is_any(filter: &BpfProgram) -> Result<(), SandboxError> {
    let has_another = secure_computing_mode() == Ok(SecureComputingMode::Filter);
    install(filter)
        .or_else(|why| if has_another { Err(SandboxError::new("seccomp", why)) } else { Ok(()) })
}

const NO_FILTER_HERE: &str = "there is no filter for this processor architecture";

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
