//! The owner of one connection, as the kernel's tables of sockets have it: for kernels that cannot be asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

const TABLE: &str = "/proc/self/net/tcp";
/// Here are the sockets that reach an IPv4 address by an IPv6 one.
const TABLE_6: &str = "/proc/self/net/tcp6";
/// The state of a connection that neither side has closed.
const ESTABLISHED: &str = "01";

/// How much of a table is read: some 100,000 sockets. A connection behind that counts as nobody's.
const MOST: u64 = 16 << 20;

/// The owner of the socket with these two addresses.
pub(super) fn owner(local: SocketAddrV4, remote: SocketAddrV4) -> Option<u32> {
    let find = |table: &str, shown: fn(SocketAddrV4) -> String| {
        let table = BufReader::new(File::open(table).ok()?.take(MOST));
        owner_in(table, &shown(local), &shown(remote))
    };
    find(TABLE, shown).or_else(|| find(TABLE_6, shown_mapped))
}

/// The owner in a table, which is read no further.
fn owner_in(table: impl BufRead, local: &str, remote: &str) -> Option<u32> {
    table.lines().map_while(Result::ok).find_map(|line| {
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
        assert_eq!(owner_in(table.as_bytes(), a, b), Some(1000));
        let closed = [head.to_owned(), line(a, b, "06", 0)].concat();
        assert_eq!(owner_in(closed.as_bytes(), a, b), None);
        assert_eq!(owner_in(&b""[..], a, b), None);
    }
}
