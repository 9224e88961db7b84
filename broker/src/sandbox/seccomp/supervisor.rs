//! The system calls that the supervisor loses: those by which root changes the machine rather than opens a device.
//!
//! No allow-list: names are looked up by modules of the C library (nsswitch.conf(5)), which call what they like. So this
//! is a list of what neither they nor any resource needs; it is answered EPERM, as by a service manager's filter.

use std::collections::BTreeMap;

use super::rule::{Check, Rules, rule};
use crate::sandbox::SandboxError;

#[rustfmt::skip]
const REFUSED: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd, libc::SYS_perf_event_open,
    // Mounts and namespaces.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount,
    libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_mount_setattr, libc::SYS_setns, libc::SYS_open_by_handle_at,
    // The kernel itself.
    libc::SYS_bpf, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module,
    libc::SYS_kexec_load, libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct,
    libc::SYS_quotactl, libc::SYS_syslog, libc::SYS_fanotify_init, libc::SYS_nfsservctl,
    // What widens the kernel that can be attacked.
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    libc::SYS_userfaultfd, libc::SYS_personality,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // The machine's name and clock.
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_settimeofday, libc::SYS_clock_settime,
    libc::SYS_clock_adjtime, libc::SYS_adjtimex, libc::SYS_vhangup,
    // Memory of other nodes.
    libc::SYS_move_pages, libc::SYS_migrate_pages,
];

/// Those of one architecture.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat,
    libc::SYS__sysctl, libc::SYS_kexec_file_load, libc::SYS_lookup_dcookie,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[libc::SYS_kexec_file_load, libc::SYS_lookup_dcookie];

/// The filter's rules.
///
/// # Errors
/// When one cannot be made.
pub(super) fn refused() -> Result<Rules, SandboxError> {
    let calls = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new()));
    let mut rules = calls.collect::<BTreeMap<_, _>>();
    // A thread may leave the descriptor table: see sys/apart.rs. It may leave nothing else.
    let files = libc::CLONE_FILES.unsigned_abs();
    // It may compare descriptors of its own: see sys/same.rs.
    let own = std::process::id();
    let others = [rule(&[Check::IsNot(0, own)])?, rule(&[Check::IsNot(1, own)])?];
    rules.insert(libc::SYS_kcmp, others.into());
    rules.insert(libc::SYS_unshare, vec![rule(&[Check::IsNot(0, files)])?]);
    Ok(rules)
}
