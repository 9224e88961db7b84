//! Leases as users are told of them: a line each, with `key=value`.

use fdbroker_types::quoted;
use fdbroker_wire::version2::MAX_REPORT;
use fdbroker_wire::{Described, Lease};

use super::times;

/// Returns as many of these as a report has room for.
pub(super) fn of<'a>(leases: impl Iterator<Item = &'a Lease>) -> String {
    let mut text = String::new();
    for line in leases.map(line) {
        if text.len() + line.len() > MAX_REPORT {
            break;
        }
        text.push_str(&line);
    }
    text
}

fn line(lease: &Lease) -> String {
    let Lease { number, resource, slot, connection, uid, pid, since, expires } = lease;
    let Described { relay, session, .. } = connection;
    let held = times::held(*since).as_secs();
    let ends = expires.map_or("never".to_owned(), |end| times::left(end).as_secs().to_string());
    let session = session.map_or("none".to_owned(), |session| session.to_string());
    let peer = connection.known_peer().map_or("none".to_owned(), |peer| quoted(peer).to_string());
    format!(
        "lease={number} slot={slot} name={name} uid={uid} pid={pid} held={held} ends_in={ends} \
         relay={relay} peer={peer} session={session}\n",
        name = quoted(resource),
        relay = relay.name()
    )
}

#[cfg(test)]
mod tests {
    use fdbroker_wire::{Relay, Slot};

    use super::*;

    fn lease(connection: Described) -> Lease {
        let (resource, slot) = ("orders".to_owned(), Slot::new(1, 5).unwrap());
        let (since, expires) = times::from_now(None);
        Lease { number: 3, resource, slot, connection, uid: 7, pid: 8, since, expires }
    }

    #[test]
    fn a_lease_is_a_line_whatever_its_peer_is_called() {
        let peer = "unix:/run/\" uid=0\nlease=4".to_owned();
        let line = line(&lease(Described { relay: Relay::Ktls, peer, session: Some(815) }));
        let expected = r#"lease=3 slot=1/5 name="orders" uid=7 pid=8 held=0 ends_in=never relay=ktls peer="unix:/run/\" uid=0\nlease=4" session=815"#;
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn what_an_earlier_broker_did_not_note_is_none() {
        let line = line(&lease(Described::default()));
        assert!(line.ends_with(" relay=direct peer=none session=none\n"), "{line}");
    }
}
