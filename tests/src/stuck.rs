//! Descriptors whose last close(2) sleeps in the kernel, in state D, until the test lets it go.
//!
//! Each of them lets go when it is dropped, also when the test fails: no process is left over.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::pipe::{SpliceFlags, splice};

use crate::{process, sys, wait_for, wait_until};

/// A pipe whose mutex a thread holds, in splice(2) into a socket that nobody reads: closing an end
/// of it waits for that.
#[derive(Debug)]
pub struct HeldPipe {
    end: Option<OwnedFd>,
    /// Shutting it ends splice(2).
    reader: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl HeldPipe {
    /// Makes a pipe and has a thread hold its mutex.
    #[track_caller]
    pub fn new() -> Self {
        let (read, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&end, &[0; 4096]).unwrap();
        let (mut full, reader) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            // It fails when the test lets go.
            let _ = splice(&read, None, &full, None, 4096, SpliceFlags::empty());
        });
        let id = told.recv().unwrap().as_raw_nonzero();
        wait_until("the thread holds the pipe's mutex", || {
            let path = format!("/proc/self/task/{id}/syscall");
            let call = fs::read_to_string(path).unwrap_or_default();
            call.split(' ').next() == Some(&libc::SYS_splice.to_string())
        });
        Self { end: Some(end), reader, thread: Some(thread) }
    }

    /// Returns the end that is to be sent: the process that closes it last waits.
    #[track_caller]
    pub fn take(&mut self) -> OwnedFd {
        self.end.take().expect("it is sent once")
    }

    /// Has `send` pass the end on while `process` is stopped, and closes ours before it goes on:
    /// then its close is the last.
    #[track_caller]
    pub fn give(&mut self, process: u32, send: impl FnOnce(BorrowedFd<'_>)) {
        let _stopped = Stopped::new(process);
        let end = self.take();
        send(end.as_fd());
    }

    /// Wakes the sleepers.
    pub fn let_go(&mut self) {
        let _ = self.reader.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the thread that held the pipe");
        }
    }
}

impl Default for HeldPipe {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for HeldPipe {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A descriptor that a thread keeps from being closed, in a system call that waits for a page.
#[derive(Debug)]
pub struct HeldByPage {
    end: Option<OwnedFd>,
    page: sys::Page,
    thread: Option<JoinHandle<()>>,
}

impl HeldByPage {
    /// A pipe that an epoll instance watches whose mutex is held.
    ///
    /// # Errors
    /// As userfaultfd(2).
    pub fn watched_pipe() -> io::Result<Self> {
        use rustix::event::epoll;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::write(&write, b"x")?;
        let watcher = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&watcher, &read, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        // The other end stays open, so that the event does.
        Self::new(read, move |page| {
            page.wait_for_event(&watcher);
            drop(write);
        })
    }

    /// A TCP socket that lingers and whose lock is held, so that this cannot be changed; and its other
    /// end.
    ///
    /// # Errors
    /// As userfaultfd(2).
    pub fn locked_socket() -> io::Result<(Self, std::net::TcpStream)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let socket = OwnedFd::from(std::net::TcpStream::connect(listener.local_addr()?)?);
        let (other_end, _) = listener.accept()?;
        rustix::net::sockopt::set_socket_linger(&socket, Some(std::time::Duration::from_secs(1)))?;
        let sends = socket.try_clone()?;
        Ok((Self::new(socket, move |page| page.send(&sends))?, other_end))
    }

    /// A connection whose lock is held.
    ///
    /// # Errors
    /// As userfaultfd(2).
    pub fn locked(socket: OwnedFd) -> io::Result<Self> {
        let sends = socket.try_clone()?;
        Self::new(socket, move |page| page.send(&sends))
    }

    fn new(end: OwnedFd, sleep: impl FnOnce(&sys::Page) + Send + 'static) -> io::Result<Self> {
        let page = sys::Page::new()?;
        let shared = page.share();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            sleep(&shared);
        });
        let id = told.recv().unwrap().as_raw_nonzero();
        let waits = || {
            let path = format!("/proc/self/task/{id}/wchan");
            fs::read_to_string(path).is_ok_and(|place| place.contains("userfault"))
        };
        wait_until("the thread waits for the page", waits);
        Ok(Self { end: Some(end), page, thread: Some(thread) })
    }

    /// As [`HeldPipe::give`].
    #[track_caller]
    pub fn give(&mut self, process: u32, send: impl FnOnce(BorrowedFd<'_>)) {
        let _stopped = Stopped::new(process);
        let end = self.end.take().expect("it is sent once");
        send(end.as_fd());
    }

    /// Wakes the sleepers.
    pub fn let_go(&mut self) {
        self.page.let_come();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the thread that waited for a page");
        }
    }
}

impl Drop for HeldByPage {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A process that is stopped until this is dropped.
#[derive(Debug)]
pub struct Stopped(u32);

impl Stopped {
    /// Stops a process, and waits until all of its threads have stopped.
    #[track_caller]
    pub fn new(process: u32) -> Self {
        process::signal(process, rustix::process::Signal::STOP);
        let stopped = Self(process);
        wait_until("the process has stopped", || {
            process::threads(process).into_iter().all(|thread| state(process, thread) != 'R')
                && process::stat(process).is_some_and(|fields| fields[0] == "T")
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        process::signal(self.0, rustix::process::Signal::CONT);
    }
}

/// Waits until a thread of a process sleeps in state D; returns its id.
#[track_caller]
pub fn sleeping_thread(process: u32) -> u32 {
    wait_for("a thread sleeps in the kernel", || {
        let mut threads = process::threads(process).into_iter();
        threads.find(|thread| state(process, *thread) == 'D')
    })
}

/// The state of a thread, as /proc has it; a space where it has gone.
fn state(process: u32, thread: u32) -> char {
    let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/stat"));
    let text = text.unwrap_or_default();
    text.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next()).unwrap_or(' ')
}
