//! The owner of one connection, as the kernel answers by sock_diag(7). That costs the same however many sockets there
//! are.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// SOCK_DIAG_BY_FAMILY: the kind of both messages.
const BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST.
const REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
/// States of a socket. Orphans have another one.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// Of all states.
const ANY: u32 = u32::MAX;
/// The length of a netlink header, and of a request with it.
const HEAD: usize = 16;
const REQUEST_LENGTH: u32 = 72;
/// Where the answer has the state and the owner.
const STATE: usize = HEAD + 1;
const OWNER: usize = HEAD + 64;

/// What the kernel says of a socket.
struct Found {
    state: u8,
    owner: u32,
}

/// Whether the kernel can be asked, and knows the listening socket.
pub(super) fn knows_listener(listening: SocketAddrV4) -> bool {
    let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    find(listening, anywhere).is_ok_and(|found| found.state == LISTEN)
}

/// The owner of the socket with these two addresses, while neither side has closed the connection.
pub(super) fn owner(local: SocketAddrV4, remote: SocketAddrV4) -> Option<u32> {
    let found = find(local, remote).ok()?;
    (found.state == ESTABLISHED).then_some(found.owner)
}

/// Finds a socket of IPv4, or one of IPv6 that reaches an IPv4 address. The kernel answers within send(2).
fn find(local: SocketAddrV4, remote: SocketAddrV4) -> rustix::io::Result<Found> {
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let kernel = socket_with(family, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    send(&kernel, &request(local, remote), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(&kernel, &mut answer, RecvFlags::DONTWAIT)?;
    parse(answer.get(..length).unwrap_or_default()).ok_or(Errno::NOENT)
}

/// A netlink header, and `struct inet_diag_req_v2`.
fn request(local: SocketAddrV4, remote: SocketAddrV4) -> Vec<u8> {
    let address = |address: SocketAddrV4| [&address.ip().octets()[..], &[0; 12]].concat();
    [
        &REQUEST_LENGTH.to_ne_bytes()[..],
        &BY_FAMILY.to_ne_bytes(),
        &REQUEST.to_ne_bytes(),
        // Its number, and the sender's.
        &[0; 8],
        &[AF_INET, IPPROTO_TCP, 0, 0],
        &ANY.to_ne_bytes(),
        &local.port().to_be_bytes(),
        &remote.port().to_be_bytes(),
        &address(local),
        &address(remote),
        // Any interface, and no cookie.
        &[0; 4],
        &[0xff; 8],
    ]
    .concat()
}

/// `struct inet_diag_msg` after a header. `None` for an error.
fn parse(answer: &[u8]) -> Option<Found> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let owner = u32::from_ne_bytes(*answer.get(OWNER..)?.first_chunk()?);
    let state = *answer.get(STATE)?;
    (kind == BY_FAMILY).then_some(Found { state, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        assert_eq!(u32::try_from(request(any, any).len()), Ok(REQUEST_LENGTH));
    }

    #[test]
    fn an_answer_that_is_an_error_or_cut_finds_nothing() {
        let mut answer = vec![0; 88];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[STATE] = ESTABLISHED;
        answer[OWNER..OWNER + 4].copy_from_slice(&1000_u32.to_ne_bytes());
        let found = parse(&answer).unwrap();
        assert_eq!((found.state, found.owner), (ESTABLISHED, 1000));
        assert!(parse(&answer[..OWNER + 3]).is_none() && parse(&[]).is_none());
        // NLMSG_ERROR.
        answer[4] = 2;
        assert!(parse(&answer).is_none());
    }
}
