//! Which sockets of a SO_REUSEPORT group the kernel puts new connections into: programs of classic BPF, which take no
//! privilege.
//!
//! A group is a list of sockets in the kernel. When one leaves it, the last one takes its place, so nobody can know the
//! order for sure. But a program can choose by the client's port: then an accepted connection tells which place its
//! socket has. A filter on a TCP socket itself would do without that, but takes privilege on newer kernels.

use std::os::fd::AsFd;

use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const SHIFT_RIGHT: u16 = 0x74;
const MODULO: u16 = 0x94;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const RETURN_LOADED: u16 = 0x16;

/// Where a random number is loaded from: SKF_AD_OFF + SKF_AD_RANDOM, −4096 + 56.
const RANDOM: u32 = 0xffff_f038;
/// Where the IP header is loaded from: SKF_NET_OFF, −1048576.
const IP_HEADER: u32 = 0xfff0_0000;
/// The length of the header without options, and so where the client's port is.
const IPV4: u32 = 20;
const IPV6: u32 = 40;

/// More sockets than a program of 4096 steps can tell apart are left to the kernel.
const MOST: usize = 2000;

/// Has the kernel choose among so many sockets of a group by the client's port; whether it does.
pub(super) fn by_port(group: impl AsFd, sockets: usize) -> bool {
    let Ok(sockets) = u32::try_from(sockets) else { return false };
    let program = [
        step(LOAD_BYTE, IP_HEADER),
        step(SHIFT_RIGHT, 4),
        sock_filter { code: IF_EQUAL, jt: 0, jf: 2, k: 4 },
        step(LOAD_HALF, IP_HEADER + IPV4),
        step(JUMP, 1),
        step(LOAD_HALF, IP_HEADER + IPV6),
        // A client's kernel prefers ports of one parity.
        step(SHIFT_RIGHT, 1),
        step(MODULO, sockets),
        step(RETURN_LOADED, 0),
    ];
    attach(group, &program)
}

/// Returns the place of the socket that [`by_port`] chooses for a client's port.
pub(super) fn place_of(port: u16, sockets: usize) -> usize {
    usize::from(port >> 1).checked_rem(sockets).unwrap_or_default()
}

/// Has the kernel choose among these sockets of a group, by chance; whether it does.
pub(super) fn steer(group: impl AsFd, numbers: &[u32]) -> bool {
    let Ok(count) = u32::try_from(numbers.len()) else { return false };
    if numbers.is_empty() || numbers.len() > MOST {
        return false;
    }
    let mut program = vec![step(LOAD_WORD, RANDOM), step(MODULO, count)];
    for (chance, number) in (0..).zip(numbers) {
        program.push(sock_filter { code: IF_EQUAL, jt: 0, jf: 1, k: chance });
        program.push(step(RETURN, *number));
    }
    program.push(step(RETURN, u32::MAX));
    attach(group, &program)
}

/// Has the kernel choose among all sockets of a group again. A number that no socket has leaves the choice to it.
pub(super) fn let_go(group: impl AsFd) {
    attach(group, &[step(RETURN, u32::MAX)]);
}

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn attach(group: impl AsFd, program: &[sock_filter]) -> bool {
    let Ok(len) = program.len().try_into() else { return false };
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    setsockopt(&group, AttachReusePortCbpf, &program).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{SocketAddr, TcpListener, TcpStream};

    use crate::upgrader::Options;

    fn group(address: &str, sockets: usize) -> Vec<TcpListener> {
        let mut address: SocketAddr = address.parse().unwrap();
        let one = |_| {
            let listener: TcpListener = Options::new().reuse_port(true).bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            address = listener.local_addr().unwrap();
            listener
        };
        (0..sockets).map(one).collect()
    }

    /// Connects, and returns the client's port and the number of the socket that it came to.
    fn call(group: &[TcpListener], address: SocketAddr) -> (u16, usize) {
        let client = TcpStream::connect(address).unwrap();
        let came = group.iter().position(|listener| listener.accept().is_ok()).unwrap();
        (client.local_addr().unwrap().port(), came)
    }

    #[test]
    fn the_port_tells_the_socket_over_ipv4_ipv6_and_ipv4_within_ipv6() {
        for (bound, called) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            let group = group(bound, 5);
            assert!(by_port(&group[0], 5));
            let port = group[0].local_addr().unwrap().port();
            let address = SocketAddr::new(called.parse().unwrap(), port);
            for _ in 0..40 {
                let (port, came) = call(&group, address);
                assert_eq!(place_of(port, 5), came, "{bound}, port {port}");
            }
        }
    }

    #[test]
    fn new_connections_come_to_the_sockets_that_are_chosen_until_all_are_again() {
        let group = group("127.0.0.1:0", 5);
        let address = group[0].local_addr().unwrap();
        assert!(steer(&group[4], &[1, 3]));
        let came = |calls| -> std::collections::BTreeSet<_> {
            (0..calls).map(|_| call(&group, address).1).collect()
        };
        assert_eq!(came(60), [1, 3].into());
        let_go(&group[0]);
        assert_eq!(came(300), (0..5).collect());
    }
}
