//! What C is told of an error: one number, as errno(3) has it.

use std::io;

use fdbroker::Error;

/// An error number, above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const INVAL: Self = Self(libc::EINVAL);
    pub(crate) const NOENT: Self = Self(libc::ENOENT);
    pub(crate) const IO: Self = Self(libc::EIO);

    /// As the functions return it.
    pub(crate) fn negated(self) -> i32 {
        -self.0
    }
}

impl From<&Error> for Errno {
    fn from(error: &Error) -> Self {
        Self(match error {
            Error::Refused { .. } => libc::EACCES,
            Error::Absent { .. } => libc::ENOENT,
            Error::Quota { errno, .. }
            | Error::Failed { errno, .. }
            | Error::Reported { errno, .. } => i32::from(errno.get()),
            Error::Version1 { .. } | Error::Unserved { .. } | Error::Protocol { .. } => {
                libc::EPROTO
            }
            Error::Claimed { .. } => libc::EBUSY,
            Error::TakenOver { .. } => libc::ESTALE,
            Error::NoRoom { .. } => libc::EMFILE,
            Error::Withheld { .. } => libc::EACCES,
            Error::TooLarge { .. } | Error::BadName { .. } => libc::EINVAL,
            Error::Timeout { .. } => libc::ETIMEDOUT,
            Error::Broken { source, .. } => return source.into(),
            Error::Untrusted { .. } | Error::Unidentified { .. } => libc::EPERM,
            _ => libc::EIO,
        })
    }
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        Self(match (error.raw_os_error(), error.kind()) {
            (Some(code), _) if code > 0 => code,
            // The broker has ended the connection.
            (_, io::ErrorKind::UnexpectedEof) => libc::ESHUTDOWN,
            // Its descriptor was closed by the program, or it belongs to the process before a fork.
            (_, io::ErrorKind::NotConnected) => libc::ENOTCONN,
            _ => libc::EIO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_connection_is_eshutdown_as_it_was() {
        let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(Errno::from(&ended).negated(), -libc::ESHUTDOWN);
    }

    #[test]
    fn what_the_system_said_is_passed_on() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(Errno::from(&refused).negated(), -libc::ECONNREFUSED);
    }
}
