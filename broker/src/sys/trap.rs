//! What happens when the system call filter refuses a call: the process says which, and dies of it.
//!
//! SECCOMP_RET_TRAP sends SIGSYS with the number of the call (seccomp(2)). The handler writes it to standard error and
//! sends the signal again, which then ends the process: SA_RESETHAND has put the default action back. The filter refuses
//! to change what SIGSYS does, so that a process that was taken over cannot go on after a refusal.

use std::io;

/// How a line begins that tells of a refused call; its number follows.
const BEGIN: &[u8] = b"fdbrokerd: worker: the system call filter refused call number ";
const END: &[u8] = b"; the worker ends\n";
/// Room for a line.
const LINE: usize = 128;

/// Has a refused system call said aloud before it ends the process.
///
/// # Errors
/// As sigaction(2).
pub(crate) fn tell_refused_calls() -> io::Result<()> {
    // SAFETY: sigaction is a C struct of integers and a function's address, for which all zeroes is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = refused;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER;
    // SAFETY: `action` is valid, its handler has the signature that SA_SIGINFO asks for, makes only async-signal-safe
    // calls, and takes no lock.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The handler. Whatever interrupted code holds, nothing here waits for it: no memory is taken and no lock.
extern "C" fn refused(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let mut line = [0; LINE];
    // SAFETY: the kernel passes a complete siginfo_t to a handler with SA_SIGINFO.
    let call = unsafe { call_number(info) };
    let length = describe(call, &mut line);
    let mut poll = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: ppoll(2) reads and writes the one entry given; write(2) reads `length` bytes of `line`; the calls that
    // follow take numbers. All of them are async-signal-safe, see signal-safety(7), and allowed by the filter.
    unsafe {
        // Where nobody reads standard error, the process must still end.
        if libc::ppoll(&raw mut poll, 1, &raw const at_once, std::ptr::null()) == 1 {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        }
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal);
        // Not reached, unless somebody else blocks the signal.
        libc::_exit(128 + signal);
    }
}

/// The number of the refused call: `si_syscall`, for which libc has no name.
///
/// # Safety
/// `info` must point at a siginfo_t of a SIGSYS.
unsafe fn call_number(info: *const libc::siginfo_t) -> libc::c_int {
    /// As in the kernel's asm-generic/siginfo.h.
    #[repr(C)]
    struct Refused {
        _signal: [libc::c_int; 3],
        #[cfg(target_pointer_width = "64")]
        _padding: libc::c_int,
        _address: *const libc::c_void,
        call: libc::c_int,
    }
    // SAFETY: a siginfo_t has 128 bytes, and that of a SIGSYS these fields.
    unsafe { (*info.cast::<Refused>()).call }
}

/// Writes the line, without taking memory; returns its length.
fn describe(call: libc::c_int, line: &mut [u8; LINE]) -> usize {
    let (mut digits, mut rest, mut first) = ([0; 10], call.unsigned_abs(), 10);
    loop {
        first -= 1;
        digits[first] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let parts = BEGIN.iter().chain(&digits[first..]).chain(END);
    line.iter_mut().zip(parts).map(|(to, from)| *to = *from).count()
}

#[cfg(test)]
mod tests {
    use super::{LINE, describe};

    #[test]
    fn the_line_has_the_number_and_fits() {
        for call in [0, 7, 59, 425, i32::MAX] {
            let mut line = [0; LINE];
            let length = describe(call, &mut line);
            let text = String::from_utf8(line[..length].to_vec()).unwrap();
            assert!(text.contains(&format!("number {call};")) && text.ends_with('\n'), "{text}");
        }
    }
}
