//! A FUSE file that each close has to flush, and whose server does not answer that to one process, or to the
//! children of one: whichever of them closes it sleeps, and no signal ends the sleep.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fuse::Fuse;

/// One such file. Dropped, every flush is answered.
#[derive(Debug)]
pub struct UnflushedFile {
    /// It, opened for reading and writing.
    pub file: File,
    server: Arc<Server>,
    fuse: Fuse,
}

#[derive(Debug)]
struct Server {
    device: Arc<File>,
    /// Flushes that wait for an answer.
    waiting: Mutex<Vec<u64>>,
    /// Who is not answered; 0 where all are.
    process: AtomicU32,
    /// Whose children are not answered; likewise.
    parent: AtomicU32,
}

// Of fuse(4), as in linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const ROOT: u64 = 1;

impl UnflushedFile {
    /// Opens one. `None`, said aloud, where no file system can be mounted.
    pub fn open() -> Option<Self> {
        let fuse = Fuse::mount("a close that flushes")?;
        let device = Arc::clone(&fuse.server);
        let waiting = Mutex::default();
        let (process, parent) = (AtomicU32::new(0), AtomicU32::new(0));
        let server = Arc::new(Server { device, waiting, process, parent });
        let own = Arc::clone(&server);
        thread::spawn(move || own.serve());
        let file = File::options().read(true).write(true).open(fuse.file()).unwrap();
        Some(Self { file, server, fuse })
    }

    /// Its path: each open(2) of it makes another open file description.
    pub fn path(&self) -> PathBuf {
        self.fuse.file()
    }

    /// From now on this process is not answered.
    pub fn hold(&self, process: u32) {
        self.server.process.store(process, Ordering::Relaxed);
    }

    /// From now on the children of this process are not answered.
    pub fn hold_children_of(&self, parent: u32) {
        self.server.parent.store(parent, Ordering::Relaxed);
    }

    /// How many of them sleep.
    pub fn waiting(&self) -> usize {
        self.server.waiting.lock().unwrap().len()
    }
}

impl Drop for UnflushedFile {
    fn drop(&mut self) {
        self.hold(0);
        self.hold_children_of(0);
        for request in self.server.waiting.lock().unwrap().drain(..) {
            self.server.answer(request, 0, &[]);
        }
        // The file system goes with its last file, and the server with it.
    }
}

impl Server {
    /// Answers until the file system is gone.
    fn serve(&self) {
        let mut request = vec![0; 1 << 17];
        while let Ok(size) = (&*self.device).read(&mut request) {
            let number = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
            assert!(size >= 40, "a request has a head");
            let (operation, unique, node, pid) = (number(4), long(8), long(16), number(32));
            match operation {
                INIT => self.answer(unique, 0, &init()),
                LOOKUP => {
                    self.answer(unique, 0, &[&[2, 0, 100, 100, 0][..], &attributes(2)].concat())
                }
                GETATTR => self.answer(unique, 0, &[&[100, 0][..], &attributes(node)].concat()),
                OPEN => self.answer(unique, 0, &[1, 0]),
                FLUSH => self.flush(unique, pid),
                RELEASE => self.answer(unique, 0, &[]),
                FORGET | BATCH_FORGET | INTERRUPT => {}
                _ => self.answer(unique, -38, &[]),
            }
        }
    }

    fn flush(&self, unique: u64, pid: u32) {
        // Its stat could not be read while it begins another program.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
        };
        let mut waiting = self.waiting.lock().unwrap();
        let is_held = |held: &AtomicU32, name: &str| {
            let held = held.load(Ordering::Relaxed);
            held != 0 && field(name) == Some(held)
        };
        // It is a thread that asks.
        if is_held(&self.process, "Tgid:") || is_held(&self.parent, "PPid:") {
            waiting.push(unique);
        } else {
            self.answer(unique, 0, &[]);
        }
    }

    /// Sends an answer whose body is made of words of 64 bits.
    fn answer(&self, unique: u64, error: i32, body: &[u64]) {
        let mut bytes = u32::try_from(16 + 8 * body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(error.to_le_bytes());
        bytes.extend(unique.to_le_bytes());
        body.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        // The process that asked may have been killed.
        let _ = (&*self.device).write_all(&bytes);
    }
}

/// Version 7.31, and the sizes that it needs.
fn init() -> [u64; 8] {
    [7 | 31 << 32, 65536, 16 | 12 << 16 | 65536 << 32, 1 | 1 << 32, 0, 0, 0, 0]
}

/// The attributes of a node: the directory, or an empty file.
fn attributes(node: u64) -> [u64; 11] {
    let mode = if node == ROOT { 0o40755 } else { 0o100_644 };
    [node, 0, 0, 0, 0, 0, 0, mode << 32, 1, 0, 4096]
}
