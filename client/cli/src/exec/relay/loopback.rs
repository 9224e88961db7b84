//! Whose a connection over the loopback interface is. Each user of the machine can reach a port there, and the
//! kernel's tables of sockets say who has.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use rustix::process::geteuid;

const TABLE: &str = "/proc/self/net/tcp";
/// Here are the sockets that reach an IPv4 address by an IPv6 one.
const TABLE_6: &str = "/proc/self/net/tcp6";
/// The state of a connection that neither side has closed.
const ESTABLISHED: &str = "01";

/// Whether this user has made the connection from the client to the server.
pub(super) fn is_own(client: SocketAddr, server: SocketAddr) -> bool {
    let (SocketAddr::V4(client), SocketAddr::V4(server)) = (client, server) else { return false };
    let own = |table: &str, shown: fn(SocketAddrV4) -> String| {
        let table = fs::read_to_string(table).unwrap_or_default();
        owner(&table, &shown(client), &shown(server)) == Some(geteuid().as_raw())
    };
    own(TABLE, shown) || own(TABLE_6, shown_mapped)
}

/// The owner of the socket with these two addresses.
fn owner(table: &str, local: &str, remote: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_it = [local, remote, ESTABLISHED].map(|word| words.next() == Some(word));
        // The queues, the timer and the retransmissions are before it.
        let uid = words.nth(3)?;
        if is_it == [true; 3] { uid.parse().ok() } else { None }
    })
}

/// An address as the table has it.
fn shown(address: SocketAddrV4) -> String {
    format!("{}:{:04X}", words(&address.ip().octets()), address.port())
}

fn shown_mapped(address: SocketAddrV4) -> String {
    let mapped: Ipv6Addr = Ipv4Addr::to_ipv6_mapped(address.ip());
    format!("{}:{:04X}", words(&mapped.octets()), address.port())
}

/// Each four bytes as the number that they are on this machine.
fn words(octets: &[u8]) -> String {
    let words = octets.as_chunks().0.iter();
    words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_process_is_its_users() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let mapped = format!("[::ffff:127.0.0.1]:{}", server.port());
        for address in [server.to_string(), mapped] {
            let client = TcpStream::connect(&address).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            assert!(is_own(peer, server), "{address}");
            drop(client);
            assert!(!is_own(peer, server), "{address}");
        }
    }

    #[test]
    fn the_owner_is_that_of_the_line_with_both_addresses() {
        let head =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
        let line = |local: &str, remote: &str, state: &str, uid: u32| {
            format!(
                "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {uid}        0 1 1\n"
            )
        };
        let (a, b) = ("0100007F:A000", "0100007F:1F90");
        let table = [head.to_owned(), line(b, a, "01", 1), line(a, b, "01", 1000)].concat();
        assert_eq!(owner(&table, a, b), Some(1000));
        let closed = [head.to_owned(), line(a, b, "06", 0)].concat();
        assert_eq!(owner(&closed, a, b), None);
        assert_eq!(owner("", a, b), None);
    }
}
