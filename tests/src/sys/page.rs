//! A page of memory that does not come, until the test lets it (userfaultfd(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

const SIZE: usize = 4096;
/// From linux/userfaultfd.h: UFFDIO_API, UFFDIO_REGISTER, UFFD_API, and the mode for missing pages.
const API: libc::c_ulong = 0xc018_aa3f;
const REGISTER: libc::c_ulong = 0xc020_aa00;
const VERSION: u64 = 0xaa;
const MISSING: u64 = 1;

/// A thread that touches it in the kernel sleeps, with whatever lock it holds.
#[derive(Debug)]
pub struct Page {
    address: usize,
    /// Closing it lets the page come, as one of zeroes.
    faults: Option<OwnedFd>,
}

impl Page {
    /// Makes one.
    ///
    /// # Errors
    /// As userfaultfd(2): only root may have the kernel's own faults wait.
    pub fn new() -> io::Result<Self> {
        // SAFETY: userfaultfd(2) takes flags only.
        let number = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let number = RawFd::try_from(number).ok().filter(|number| *number >= 0);
        let number = number.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        let faults = unsafe { OwnedFd::from_raw_fd(number) };
        let (rights, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, rights, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = Self { address: address as usize, faults: Some(faults) };
        page.control(API, &mut [VERSION, 0, 0, 0])?;
        page.control(REGISTER, &mut [page.address as u64, SIZE as u64, MISSING, 0])?;
        Ok(page)
    }

    fn control(&self, request: libc::c_ulong, argument: &mut [u64; 4]) -> io::Result<()> {
        let Some(faults) = &self.faults else { return Ok(()) };
        // SAFETY: both requests read and write at most four words, which are ours.
        match unsafe { libc::ioctl(faults.as_raw_fd(), request, argument.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends the page on a socket; sleeps with the socket's lock until the page comes.
    pub fn send(&self, socket: impl AsFd) {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: the kernel reads the page, which is mapped for as long as this process lives.
        unsafe { libc::send(socket, self.address as *const _, SIZE, libc::MSG_NOSIGNAL) };
    }

    /// Waits for an event of an epoll instance that has one, into the page; sleeps with the instance's
    /// mutex until the page comes.
    pub fn wait_for_event(&self, epoll: impl AsFd) {
        let epoll = epoll.as_fd().as_raw_fd();
        // SAFETY: the kernel writes one event to the page, which nobody else looks at.
        unsafe { libc::epoll_wait(epoll, self.address as *mut _, 1, -1) };
    }

    /// Another handle on the same page, that does not let it come when it is dropped.
    pub fn share(&self) -> Self {
        Self { address: self.address, faults: None }
    }

    /// Lets the page come.
    pub fn let_come(&mut self) {
        self.faults = None;
    }
}
