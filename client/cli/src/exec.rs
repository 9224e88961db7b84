//! `fdbroker exec`: runs a program with descriptors from the broker, the way that socket activation
//! hands them over: sd_listen_fds(3).
//!
//! The program takes the place of this process. So LISTEN_PID is this process's own id, and a
//! parent that waits for this process, or signals it, reaches the program.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use fdbroker::{Broker, Slot};
use fdbroker_types::quoted;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;

/// Run a program with the descriptors of slots as 3, 4, ..., as socket activation does
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Exec {
    /// The slots, in the order of their descriptors, each with its name for LISTEN_FDNAMES
    /// [default name: the slot as given, with a dot for the slash]
    #[arg(required = true, value_name = "SLOT[=NAME]", value_parser = wanted)]
    slots: Vec<Wanted>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker exec web/0=http web/1=https -- /usr/sbin/some-server --foreground
  fdbroker exec tun -- qemu-system-x86_64 -netdev tap,id=net0,fd=3 ...
  fdbroker exec 1/1 -- sh -c 'head -n 3 <&3'

The program finds the descriptors from 3 on, their number in LISTEN_FDS, their names in
LISTEN_FDNAMES and its own process id in LISTEN_PID. Payloads are not passed on.

The program has to use the number. Opening a path, /dev/fd/3 too, opens the file again, and
needs the permission for that.

If a wrapper forks, as in sh -c 'server; true', LISTEN_PID is not the server's process id, and
the server ignores the descriptors. Write exec before the server. Descriptors 3, 4, ... of the
caller are not passed on.

docs/servers.md shows the line for nginx, haproxy, gunicorn and other servers.";

/// The first descriptor that is passed on: SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;
/// The longest name, in bytes: sd_listen_fds_with_names(3).
const LONGEST_NAME: usize = 255;

/// A slot that is wanted, and what its descriptor is to be called.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    slot: String,
    name: String,
}

impl Exec {
    /// Runs it; comes back only if that fails.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let slots = self.slots(&mut lazy)?;
        let descriptors = fetch(lazy.into_broker()?, &slots)?;
        let passed = place(descriptors)
            .map_err(|error| Failure::local("exec: passing descriptors on", error))?;
        let names: Vec<&str> = self.slots.iter().map(|wanted| wanted.name.as_str()).collect();
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Usage("exec: no program to run".to_owned()));
        };
        let source = Command::new(program)
            .args(arguments)
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDS", passed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PIDFDID")
            .exec();
        Err(Failure::NotRun { program: program.to_string_lossy().into_owned(), source })
    }

    fn slots(&self, lazy: &mut LazyBroker<'_>) -> Result<Vec<Slot>, Failure> {
        self.slots.iter().map(|wanted| lazy.slot(&wanted.slot)).collect()
    }
}

/// Gets all of them, or none; the connection ends here, so that its number is free again.
fn fetch(mut broker: Broker, slots: &[Slot]) -> Result<Vec<OwnedFd>, Failure> {
    slots.iter().map(|&slot| fetch_one(&mut broker, slot)).collect()
}

fn fetch_one(broker: &mut Broker, slot: Slot) -> Result<OwnedFd, Failure> {
    broker.get(slot)?.descriptor.ok_or_else(|| {
        Failure::Local(format!(
            "exec: slot {slot} holds a payload and no descriptor; see it with: fdbroker get {slot}"
        ))
    })
}

/// Moves the descriptors to the numbers from [`FIRST`] on, and lets only these survive an exec.
///
/// What else was open under those numbers was inherited, for nothing of this process is left
/// open there but what is moved; it is closed.
fn place(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let end = FIRST + RawFd::try_from(descriptors.len()).map_err(|_| Errno::MFILE)?;
    let aside: Vec<OwnedFd> =
        descriptors.iter().map(|one| fcntl_dupfd_cloexec(one, end)).collect::<Result<_, _>>()?;
    drop(descriptors);
    (FIRST..end).zip(&aside).map(|(number, one)| place_one(one, number)).collect()
}

fn place_one(descriptor: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    match nix::unistd::close(number) {
        Ok(()) | Err(nix::errno::Errno::EBADF | nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let placed = fcntl_dupfd_cloexec(descriptor, number)?;
    if placed.as_raw_fd() != number {
        return Err(io::Error::other(format!("descriptor {number} is taken")));
    }
    fcntl_setfd(&placed, FdFlags::empty())?;
    Ok(placed)
}

/// Reads `SLOT` or `SLOT=NAME`.
fn wanted(text: &str) -> Result<Wanted, String> {
    let (slot, name) = match text.split_once('=') {
        Some((slot, name)) => (slot, name.to_owned()),
        None => (text, text.replace('/', ".")),
    };
    let plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b':';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Err(format!(
            "{name} cannot be a descriptor's name: it takes 1 to {LONGEST_NAME} printable ASCII characters other than ':'",
            name = quoted(&name)
        ));
    }
    Ok(Wanted { slot: slot.to_owned(), name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_a_name_is_named_after_itself() {
        let named = |slot: &str, name: &str| Ok(Wanted { slot: slot.into(), name: name.into() });
        assert_eq!(wanted("web/3"), named("web/3", "web.3"));
        assert_eq!(wanted("tun"), named("tun", "tun"));
        assert_eq!(wanted("1/0=a/b"), named("1/0", "a/b"));
    }

    #[test]
    fn names_that_would_forge_others_are_refused() {
        for wrong in
            ["1/0=", "1/0=a:b", "1/0=a\nb", "1/0=\u{e9}", &format!("1/0={}", "x".repeat(256))]
        {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
        assert!(wanted(&format!("1/0={}", "x".repeat(255))).is_ok());
    }
}
