//! The error numbers that answers carry, see errno(3).

use std::fmt;

/// A positive error number; a reply carries it negated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(i16);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $libc:ident;)*) => {
        impl Errno {
            $(
                $(#[$doc])*
                #[expect(clippy::cast_possible_truncation, reason = "errno(3): all are below 4096")]
                pub const $name: Self = Self(libc::$libc as i16);
            )*

            /// The symbolic name, such as `EACCES`; none for a number that this protocol does not use.
            pub const fn name(self) -> Option<&'static str> {
                $(if self.0 == Self::$name.0 { return Some(stringify!($libc)); })*
                None
            }
        }
    };
}

errnos! {
    /// Refused by the policy.
    ACCES = EACCES;
    /// The slot is empty.
    NOENT = ENOENT;
    /// The message is not what the protocol says.
    INVAL = EINVAL;
    /// The opcode is not served on this connection.
    PROTO = EPROTO;
    /// A quota of the peer's user is used up.
    DQUOT = EDQUOT;
    /// No room in the broker's descriptor table.
    MFILE = EMFILE;
    /// The message is longer than its limit.
    MSGSIZE = EMSGSIZE;
    /// The tag does not accept a deposit of this kind.
    OPNOTSUPP = EOPNOTSUPP;
    /// The resource is not what the policy says it is.
    NODEV = ENODEV;
    /// The resource is being opened by as many callers as may wait for it; or the tag is being taken
    /// over, and nothing changes there until that has ended.
    BUSY = EBUSY;
    /// The resource did not open in time.
    TIMEDOUT = ETIMEDOUT;
    /// Opening or holding failed for another reason; the broker's log has it.
    IO = EIO;
    /// The broker is stopping or starting.
    AGAIN = EAGAIN;
    /// Another process has taken the tag over, or owns it. Between the broker's own two processes: the
    /// question was asked under a policy that is not in force any more.
    STALE = ESTALE;
}

impl Errno {
    /// Returns the error number `code`, given positive, or `None` if it is not from 1 to 4095.
    pub const fn new(code: i32) -> Option<Self> {
        if code < 1 || code > 4095 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "just checked to be below 4096")]
        Some(Self(code as i16))
    }

    /// The positive number.
    pub const fn get(self) -> i16 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}
