//! What /proc tells of the daemon's two processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How many descriptors each of the two processes has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Of the supervisor.
    pub supervisor: usize,
    /// Of the worker.
    pub worker: usize,
}

/// Whether bytes are in what a process may read and write of its memory.
pub fn is_in_memory(pid: u32, wanted: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|it| it.starts_with("rw"))).any(
        |line| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // What cannot be read, as the kernel's own pages, holds nothing of ours.
            memory.read_exact_at(&mut bytes, from).is_ok()
                && bytes.windows(wanted.len()).any(|part| part == wanted)
        },
    )
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// The workers of a broker, and not its closers.
pub fn workers(supervisor: u32) -> Vec<u32> {
    with_argument(supervisor, "--worker")
}

/// The closers of a broker.
pub fn closers(supervisor: u32) -> Vec<u32> {
    with_argument(supervisor, "--closer")
}

/// The helpers of a broker.
pub fn helpers(supervisor: u32) -> Vec<u32> {
    with_argument(supervisor, "--helper")
}

/// The processes of a broker that look names up.
pub fn lookups(supervisor: u32) -> Vec<u32> {
    with_argument(supervisor, "--lookup")
}

fn with_argument(parent: u32, argument: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
    };
    children(parent).into_iter().filter(has).collect()
}

/// The child of a process that has this name (/proc/PID/comm).
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn named_below(parent: u32, name: &str) -> u32 {
    let named = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name)
    };
    let found = children(parent).into_iter().find(named);
    found.unwrap_or_else(|| panic!("process {parent} has no child {name}"))
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of /proc/PID/stat from the third (the state) on.
pub fn stat(pid: u32) -> Option<Vec<String>> {
    stat_in(Path::new(&format!("/proc/{pid}")))
}

fn stat_in(directory: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(directory.join("stat")).ok()?;
    let fields = text.rsplit_once(") ")?.1;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// How much of a processor's time a process has used, in ticks of 10 ms.
pub fn processor_ticks(pid: u32) -> u64 {
    let fields = stat_in(Path::new(&format!("/proc/{pid}"))).expect("it runs");
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Whether a process runs: it is there, and no zombie.
pub fn runs(pid: u32) -> bool {
    runs_in(Path::new(&format!("/proc/{pid}")))
}

/// Whether all threads of a process have ended. One that ends late keeps the descriptors of all of
/// them, though the process is a zombie already.
pub fn has_ended(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    !threads.filter_map(Result::ok).any(|thread| runs_in(&thread.path()))
}

/// Whether all processes of a group have ended, with all of their threads.
pub fn group_has_ended(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_group = |pid| stat(pid).is_some_and(|fields| fields[2] == group.to_string());
    !pids.any(|pid| of_group(pid) && !has_ended(pid))
}

fn runs_in(directory: &Path) -> bool {
    stat_in(directory).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// A field of /proc/PID/status.
#[track_caller]
pub fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("/proc/{pid}/status has no {field}")).trim().to_owned()
}

/// Whether a program in this directory that is set-user-ID would run as its owner.
pub fn honours_set_user_id(directory: &Path) -> bool {
    let flags = rustix::fs::statvfs(directory).unwrap().f_flag;
    let privileges = status(std::process::id(), "NoNewPrivs") == "0";
    privileges && !flags.contains(rustix::fs::StatVfsMountFlags::NOSUID)
}

/// A field of /proc/PID/status that is an amount of memory, in bytes.
pub fn memory(pid: u32, field: &str) -> u64 {
    let value = status(pid, field);
    value.trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Returns the open descriptors of a process and what they refer to, or `None` if we may not look.
pub fn descriptors(pid: u32) -> Option<BTreeMap<u32, String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(entries.filter_map(|entry| descriptor(&entry.ok()?.path())).collect())
}

/// The sockets that are bound to a path, as /proc shows them among a process's descriptors: the
/// listening one, and every connection that was accepted from it.
pub fn sockets_at(path: &Path) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = path.to_string_lossy();
    let sockets = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let here = fields.get(7).is_some_and(|bound| *bound == path);
        here.then(|| format!("socket:[{}]", fields[6]))
    });
    sockets.collect()
}

fn descriptor(path: &Path) -> Option<(u32, String)> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    // Not one that has been closed since it was listed.
    let target = fs::read_link(path).ok()?;
    Some((number, target.display().to_string()))
}

/// The ids of all threads of a process.
pub fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Sends a signal to a process that a test started.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // A process that has just ended is what the caller wanted, or will notice.
    let _ = rustix::process::kill_process(pid, signal);
}
