//! The second numbering that the system calls of x86-64 can have: x32, which some kernels are built with.
//!
//! The compiled filters know the first numbering alone, so a list of what is refused would not hold for the second.
//! No program of the broker is built for it: all of it is refused. See the section on seccomp_data in seccomp(2).

use seccompiler::{BpfProgram, sock_filter};

/// The bit that a number of the second numbering has: __X32_SYSCALL_BIT.
const X32: u32 = 0x4000_0000;

/// Returns a filter that answers each of its calls with this error number, and allows the rest.
pub(super) fn refused(errno: libc::c_int) -> BpfProgram {
    let errno = errno.unsigned_abs() & libc::SECCOMP_RET_DATA;
    vec![
        // The number of the call is first in seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        // Below: over the next one.
        sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32) },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Returns an instruction. Each code is a byte.
fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: u16::from(code.to_le_bytes()[0]), jt: 0, jf: 0, k }
}
