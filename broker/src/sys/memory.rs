//! Memory of the C library's allocator.

/// Gives the pages that hold nothing back to the system, also those in the middle of what the allocator
/// has: malloc_trim(3). By itself it gives back only what lies behind everything that is in use.
///
/// It takes milliseconds where much is held, and does nothing with another allocator.
pub(crate) fn give_back_unused() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but memory that is free, and locks the allocator for that.
    unsafe {
        libc::malloc_trim(0);
    }
}
