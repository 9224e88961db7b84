//! What a helper is handed beside its job: secrets and certificates, each in memory that nobody can change, and the
//! sockets of servers.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::fs::fstat;
use rustix::io::pread;
use zeroize::Zeroizing;

use super::secret::{MAX_SECRET, Secret};

/// The largest file of certificates: some seven times those of all public authorities.
pub(crate) const MAX_CERTIFICATES: usize = 1 << 20;

/// What a descriptor is: memory, but for the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handed {
    /// The password of the log-in.
    Password,
    /// The certificates of those who may sign the server's.
    Authorities,
    /// The certificate that is shown to the server.
    Certificate,
    /// The private key of that.
    Key,
    /// The Unix socket of a server that is sent the password, with O_PATH.
    Socket,
}

/// All of it, read.
#[derive(Default)]
pub(crate) struct Memories {
    pub(crate) password: Option<Secret>,
    pub(crate) authorities: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Option<Secret>,
    /// In their order.
    pub(crate) sockets: Vec<OwnedFd>,
}

impl Handed {
    const ALL: [(Self, &str); 5] = [
        (Self::Password, "password"),
        (Self::Authorities, "ca"),
        (Self::Certificate, "client_certificate"),
        (Self::Key, "client_key"),
        (Self::Socket, "socket"),
    ];

    /// What a job calls it.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(handed, _)| *handed == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, of)| *of == name).map(|(handed, _)| *handed)
    }
}

impl Memories {
    /// Reads what a job says that its descriptors hold, and closes them; sockets stay open.
    ///
    /// # Errors
    /// InvalidInput if they are not as many; as [`read`].
    pub(crate) fn read(handed: &[Handed], descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        if handed.len() != descriptors.len() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut memories = Self::default();
        for (handed, memory) in handed.iter().zip(descriptors) {
            match handed {
                Handed::Password => memories.password = Some(Secret::read(&memory)?),
                Handed::Key => memories.key = Some(Secret::read(&memory)?),
                Handed::Authorities => memories.authorities = certificates(&memory)?,
                Handed::Certificate => memories.certificate = certificates(&memory)?,
                Handed::Socket => memories.sockets.push(memory),
            }
        }
        Ok(memories)
    }
}

fn certificates(memory: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = read(memory, MAX_CERTIFICATES)?;
    Ok(std::mem::take(&mut *bytes))
}

impl Secret {
    /// Reads what the supervisor put into memory.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn read(memory: &OwnedFd) -> io::Result<Self> {
        read(memory, MAX_SECRET).map(Self::new)
    }
}

/// Returns what is in memory, if that is no more than so many bytes.
///
/// # Errors
/// FileTooLarge; as pread(2).
fn read(memory: &OwnedFd, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(fstat(memory)?.st_size).unwrap_or(usize::MAX);
    if size > most {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Zeroizing::new(vec![0; size]);
    let mut read = 0;
    while read < size {
        let room = bytes.get_mut(read..).unwrap_or_default();
        match pread(memory, room, u64::try_from(read).unwrap_or(u64::MAX))? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(bytes)
}
