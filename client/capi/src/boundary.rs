//! Where C and Rust meet: the functions of the header, and every unsafe block of this crate.
//!
//! C is trusted to keep to the header: a pointer is null, or points to what the header says for the
//! whole call. A handle comes from [`escrow_init`] and was not passed to [`escrow_fini`] yet. What
//! can be checked is checked, and answered with −EINVAL. Nothing is kept that C owns.
//!
//! A panic does not get past here: it becomes −EIO, and so does every later request on the same
//! handle, because nobody knows what state it is in.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::connection;
use crate::errno::Errno;
use crate::flags::Flags;
use crate::session::{Session, Wish};

/// `struct escrow`: what a handle points to. Threads that share one take turns.
#[derive(Debug)]
#[expect(non_camel_case_types, reason = "the header's name")]
pub struct escrow(Mutex<Session>);

/// Connects to a broker, and starts one before if that is asked for.
///
/// # Safety
/// `path` is null or points to a string that ends with NUL; `handle` is null or points to room
/// for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_init(
    path: *const c_char,
    flags: u32,
    nr_tags: i32,
    handle: *mut *mut escrow,
) -> c_int {
    guarded(|| {
        // SAFETY: by the contract above, either is null or valid for this call, and nobody else
        // uses it during the call.
        let (path, handle) = unsafe { (string(path), handle.as_mut()) };
        let handle = handle.ok_or(Errno::INVAL)?;
        *handle = std::ptr::null_mut();
        let flags = Flags::new(flags);
        let session =
            Session::begin(Wish { path, flags, tags: nr_tags, trusted: own_environment() })?;
        *handle = Box::into_raw(Box::new(escrow(Mutex::new(session))));
        Ok(())
    })
}

/// Ends a session.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`], and nobody uses it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_fini(handle: *mut escrow) {
    guarded(|| {
        if !handle.is_null() {
            // SAFETY: it came from Box::into_raw in `escrow_init`, and by the contract above it is
            // given back for the first time.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(())
    });
}

/// Asks how much a tag holds.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`]; `nr` and `nob` are null or point to a number each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_tag(
    handle: *mut escrow,
    tag: i16,
    nr: *mut i32,
    nob: *mut i32,
) -> c_int {
    guarded(|| {
        if nr.is_null() || nob.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: by the contract above, the handle is null or alive during this call.
        let info = unsafe { on(handle, |session| session.tag(tag)) }?;
        // SAFETY: neither is null, so by the contract above each can be written to.
        unsafe {
            nr.write(info.used);
            nob.write(info.total);
        }
        Ok(())
    })
}

/// Gets what is in a slot.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`]; `fd` and `nob` are null or point to a number
/// each; `data` is null or points to `*nob` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_get(
    handle: *mut escrow,
    tag: i16,
    idx: i32,
    fd: *mut c_int,
    nob: *mut i32,
    data: *mut c_void,
) -> c_int {
    guarded(|| {
        if fd.is_null() || nob.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: neither is null, so by the contract above each can be used.
        let room = unsafe {
            fd.write(-1);
            nob.read()
        };
        let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
        if data.is_null() && room > 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: by the contract above, the handle is null or alive during this call.
        let deposit = unsafe { on(handle, |session| session.get(tag, idx)) }?;
        let payload = deposit.payload;
        let size = i32::try_from(payload.len()).map_err(|_| Errno::IO)?;
        let copied = payload.len().min(room);
        if copied > 0 {
            // SAFETY: `data` is not null, as there is room, and has `room` bytes by the contract
            // above, of which no more are written; the payload is our own memory, so they are apart.
            unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), data.cast(), copied) };
        }
        let number = deposit.descriptor.map_or(-1, OwnedFd::into_raw_fd);
        // SAFETY: as at the first use.
        unsafe {
            nob.write(size);
            fd.write(number);
        }
        Ok(())
    })
}

/// Deposits a descriptor, or a payload, or both.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`]; nobody closes `fd` during the call; `data` is
/// null or points to `nob` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_add(
    handle: *mut escrow,
    tag: i16,
    idx: i32,
    fd: c_int,
    nob: i32,
    data: *mut c_void,
) -> c_int {
    guarded(|| {
        let size = usize::try_from(nob).map_err(|_| Errno::INVAL)?;
        if size > fdbroker::MAX_PAYLOAD || (data.is_null() && size > 0) {
            return Err(Errno::INVAL);
        }
        // An empty slice must not be made of a null pointer.
        let payload = match size {
            0 => &[],
            // SAFETY: `data` is not null, and has `size` bytes by the contract above, which nobody
            // writes to during the call.
            _ => unsafe { std::slice::from_raw_parts(data.cast_const().cast::<u8>(), size) },
        };
        // SAFETY: by the contract above nobody closes it during the call; a number that is not
        // open at all is answered EBADF by the first system call, and harms nobody.
        let descriptor = unsafe { borrowed(fd) };
        // SAFETY: by the contract above, the handle is null or alive during this call.
        unsafe { on(handle, |session| session.add(tag, idx, descriptor, payload)) }
    })
}

/// Deletes what is in a slot.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_del(handle: *mut escrow, tag: i16, idx: i32) -> c_int {
    guarded(|| {
        // SAFETY: by the contract above, the handle is null or alive during this call.
        unsafe { on(handle, |session| session.del(tag, idx)) }
    })
}

/// Finds a field in the payload of a connection.
///
/// # Safety
/// `data` is null or points to `nob` bytes; `name` is null or points to a string that ends with NUL; `value` and `size`
/// are null or point to room for a pointer and a number. Nobody writes to any of them during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn escrow_connection_get(
    data: *const c_void,
    nob: i32,
    name: *const c_char,
    value: *mut *const c_void,
    size: *mut i32,
) -> c_int {
    guarded(|| {
        if value.is_null() || size.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: neither is null, so by the contract above each can be written to.
        unsafe {
            value.write(std::ptr::null());
            size.write(0);
        }
        let length = usize::try_from(nob).map_err(|_| Errno::INVAL)?;
        if data.is_null() || name.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: neither is null, and by the contract above both are valid and unchanged during this call.
        let (payload, name) = unsafe {
            (std::slice::from_raw_parts(data.cast::<u8>(), length), CStr::from_ptr(name))
        };
        let found = connection::field(payload, name)?;
        let length = i32::try_from(found.len()).map_err(|_| Errno::IO)?;
        // SAFETY: as at the first use.
        unsafe {
            value.write(found.as_ptr().cast());
            size.write(length);
        }
        Ok(())
    })
}

/// 0, or a negated error number; −EIO for a panic.
fn guarded(body: impl FnOnce() -> Result<(), Errno>) -> c_int {
    // Nothing of ours is looked at after a panic: a session that one has gone through is poisoned.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => errno.negated(),
        Err(_) => Errno::IO.negated(),
    }
}

/// Asks a session, when it is this thread's turn.
///
/// # Safety
/// `handle` is null or comes from [`escrow_init`], and is not given to [`escrow_fini`] during the call.
unsafe fn on<T>(
    handle: *mut escrow,
    ask: impl FnOnce(&mut Session) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: the caller vouches for it. The reference is a shared one, so that threads may have one
    // each.
    let shared = unsafe { handle.as_ref() }.ok_or(Errno::INVAL)?;
    let mut session = shared.0.lock().map_err(|_| Errno::IO)?;
    ask(&mut session)
}

/// # Safety
/// `text` is null or points to a string that ends with NUL, which nobody writes to during the call.
unsafe fn string(text: *const c_char) -> Option<PathBuf> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not null, so the caller vouches for it. It is copied here.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    Some(PathBuf::from(OsStr::from_bytes(bytes)))
}

/// # Safety
/// Nobody closes `number` while what is given is used.
unsafe fn borrowed<'a>(number: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: it is not negative, and the caller vouches for the rest.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Whether the environment can be trusted: not where this program has more rights than who
/// started it, see `secure_getenv(3)`.
fn own_environment() -> bool {
    // SAFETY: getauxval(3) reads what the kernel gave this process at its start, and takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(guarded(|| panic!("as a test")), -libc::EIO);
    }
}
