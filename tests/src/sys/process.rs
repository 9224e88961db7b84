//! What this process, or another one, is: its user, its limits, its processors.

use std::io;
use std::mem::size_of;

/// Makes this whole process another user. Only for a process with one thread.
pub fn become_user(ids: &crate::Ids) -> io::Result<()> {
    let (uid, gid, groups) = (ids.uid, ids.gid, &ids.groups);
    // SAFETY: setgroups(2) reads as many gid_t as the slice holds; the others take integers only.
    let failed = unsafe {
        libc::setgroups(groups.len(), groups.as_ptr()) != 0
            || libc::setresgid(gid, gid, gid) != 0
            || libc::setresuid(uid, uid, uid) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets how many descriptors a process may have (the soft limit); returns the old limit.
pub fn limit_descriptors(pid: u32, soft: u64) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: prlimit(2) writes one rlimit, which is ours.
    if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: prlimit(2) reads one rlimit, which is ours.
    if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before)
}

/// Raises this process's own limit of descriptors as far as it may; returns the new limit.
pub fn raise_descriptors() -> u64 {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let hard = hard.unwrap_or(1 << 20);
    limit_descriptors(std::process::id(), hard).unwrap();
    hard
}

/// Pins the thread or process `id` to one processor.
pub fn pin(id: u32, processor: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET stays inside the set for numbers below its size, and panics beyond.
    unsafe { libc::CPU_SET(processor, &mut set) };
    let id = libc::pid_t::try_from(id).unwrap();
    // SAFETY: sched_setaffinity(2) reads one cpu_set_t of the size given.
    if unsafe { libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The processors that this thread may run on.
pub fn processors() -> Vec<usize> {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: sched_getaffinity(2) writes at most one cpu_set_t of the size given.
    let failed =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0;
    assert!(!failed, "sched_getaffinity: {}", io::Error::last_os_error());
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: CPU_ISSET stays inside the set for numbers below CPU_SETSIZE.
    all.filter(|processor| unsafe { libc::CPU_ISSET(*processor, &set) }).collect()
}

/// Runs `last` when this process ends in an orderly way.
pub fn at_exit(last: extern "C" fn()) {
    // SAFETY: atexit(3) keeps a pointer to a function, which lives as long as the program.
    assert_eq!(unsafe { libc::atexit(last) }, 0, "no room for another exit handler");
}
