//! Who asks: users, groups, and the peer at the other end of a connection.
//!
//! All of these are plain values. Where they come from, and whether the kernel vouches for them, is the caller's
//! affair.

use std::fmt;

/// The kernel's overflow id: what a user or group of a foreign user namespace looks like from here.
///
/// Documented in user_namespaces(7); the value is the default of `/proc/sys/kernel/overflowuid`.
const OVERFLOW: u32 = 65534;

/// How long a control group's path may be that is matched, in bytes. Those of service managers have
/// a few hundred. A user who may make control groups can make one of 4095, and matching it would
/// take everybody's time.
pub const LONGEST_CGROUP: usize = 1024;

/// The number of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// The number of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub u32);

/// The process at the other end of a connection, as the kernel described it.
///
/// What could not be read, or what there is none of, is `None` and matches no condition.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The user it ran as.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its supplementary groups, in any order.
    pub groups: &'a [Gid],
    /// The service manager's unit that it runs in, such as `vpn.service`.
    pub unit: Option<&'a str>,
    /// The path of its control group, such as `/system.slice/vpn.service`. With one of more than 1024 bytes it is out of
    /// sight.
    pub cgroup: Option<&'a str>,
    /// Its security label, as the kernel writes it.
    pub label: Option<&'a str>,
    /// Its unit and control group could not be read, as of a process that has ended: then no rule that asks for one
    /// allows it anything, and every rule that does may deny.
    pub out_of_sight: bool,
    /// Nothing is known of it but its user and its primary group, as of a process that wrote and has ended: then no rule
    /// that asks for more allows it anything, and every rule that does may deny.
    pub vanished: bool,
}

impl Uid {
    /// The administrator.
    pub const ROOT: Self = Self(0);
    /// The user in whom all strangers look alike. No rule can name it.
    pub const OVERFLOW: Self = Self(OVERFLOW);
    /// No user: `(uid_t) -1`, which no process can have, see setreuid(2).
    pub const NONE: Self = Self(u32::MAX);
}

impl Gid {
    /// The group in which all strangers look alike. No rule can name it.
    pub const OVERFLOW: Self = Self(OVERFLOW);
    /// No group: `(gid_t) -1`, which no process can have and no rule can name.
    pub const NONE: Self = Self(u32::MAX);
}

impl<'a> Peer<'a> {
    /// A peer of whom only users and groups are known.
    #[must_use]
    pub const fn new(uid: Uid, gid: Gid, groups: &'a [Gid]) -> Self {
        Self {
            uid,
            gid,
            groups,
            unit: None,
            cgroup: None,
            label: None,
            out_of_sight: false,
            vanished: false,
        }
    }

    /// The peer as rules see it: a control group path that is too long is not matched, so it is out of sight.
    #[must_use]
    pub fn within_sight(self) -> Self {
        match self.cgroup {
            Some(path) if path.len() > LONGEST_CGROUP => {
                Self { unit: None, cgroup: None, out_of_sight: true, ..self }
            }
            _ => self,
        }
    }

    /// Every group the peer is in: the primary one, then the supplementary ones.
    pub fn all_groups(&self) -> impl Iterator<Item = Gid> {
        std::iter::once(self.gid).chain(self.groups.iter().copied())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_with_a_path_of_1024_bytes_is_in_sight_and_with_a_longer_one_is_not() {
        let seen = |length| {
            let path = "/".repeat(length);
            let peer = Peer {
                unit: Some("vpn.service"),
                cgroup: Some(&path),
                ..Peer::new(Uid(7), Gid(70), &[])
            };
            let seen = peer.within_sight();
            (seen.unit.is_some(), seen.cgroup.map(str::len), seen.out_of_sight)
        };
        assert_eq!(seen(1024), (true, Some(1024), false));
        assert_eq!(seen(1025), (false, None, true));
    }

    #[test]
    fn a_user_and_a_group_print_as_their_number() {
        assert_eq!((Uid(7).to_string(), Gid(70).to_string()), ("7".to_owned(), "70".to_owned()));
    }
}
