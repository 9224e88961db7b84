//! Memory of the C library's allocator.

/// Returns unused pages to the system, also those in the middle of the allocator's memory:
/// malloc_trim(3). By itself the allocator returns only the pages behind everything that is in use.
///
/// It takes milliseconds if much memory is in use, and does nothing with another allocator.
pub(crate) fn give_back_unused() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but memory that is free, and locks the allocator for that.
    unsafe {
        libc::malloc_trim(0);
    }
}
