//! What worker and supervisor say to each other comes out as it was said.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fdbroker_wire::{
    Account, Control, Decoder, DepositNumber, Described, Errno, Extended, Index, Joined, KnownName,
    Limits, MAX_PAYLOAD, Malformed, Message, NameKind, Opened, Payload, PolicyText, Relay, Setup,
    Slot, Subordinates, Tag, Tally, opcode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn control() -> impl Strategy<Value = Control<u32>> {
    let tag = (0..=i16::MAX).prop_map(|tag| Tag::new(tag).unwrap());
    let slot = (0..=i16::MAX, 0..=i32::MAX).prop_map(|(tag, index)| Slot::new(tag, index).unwrap());
    let errno = (1..4096_i32).prop_map(|errno| Errno::new(errno).unwrap());
    let failure = (errno.clone(), ".{0,60}");
    let tally = any::<(u32, u32, u32, u32)>().prop_map(|(uid, deposits, connections, openings)| {
        Tally { uid, deposits, connections, openings }
    });
    let report = prop_oneof![".{0,60}".prop_map(Ok), failure.prop_map(Err)];
    let outcome = prop_oneof![opened().prop_map(Ok), (errno, ".{0,60}").prop_map(Err)];
    prop_oneof![
        Just(Control::Restore),
        setup().prop_map(Control::Setup),
        any::<u32>().prop_map(Control::Listener),
        (tag, 0..=i32::MAX, option::of(any::<u32>()))
            .prop_map(|(tag, pid, process)| Control::Note { tag, pid, process }),
        Just(Control::Restored),
        (any::<(u32, u32, u32, u32)>(), 0..=i32::MAX, option::of(any::<u32>())).prop_map(
            |((generation, resource, ticket, uid), pid, process)| Control::Open {
                generation,
                resource,
                ticket,
                uid,
                pid,
                process
            }
        ),
        any::<(u32, u64, Option<u32>)>().prop_map(|(ticket, after, of)| Control::Leases {
            ticket,
            after,
            of
        }),
        (any::<u32>(), slot.clone(), slot.clone())
            .prop_map(|(ticket, first, last)| Control::HereOnly { ticket, first, last }),
        (any::<u32>(), slot.clone()).prop_map(|(ticket, slot)| Control::Durable { ticket, slot }),
        any::<(u32, u64, u32, bool)>().prop_map(|(ticket, number, by, of_anybody)| {
            Control::EndLease { ticket, number, by, of_anybody }
        }),
        (any::<u32>(), report.clone())
            .prop_map(|(ticket, outcome)| Control::Told { ticket, outcome }),
        (any::<u32>(), outcome).prop_map(|(ticket, outcome)| Control::Opened { ticket, outcome }),
        Just(Control::Serving),
        tally.clone().prop_map(Control::Waiting),
        tally.prop_map(Control::Closed),
        setup().prop_map(Control::Policy),
        any::<u32>().prop_map(|ticket| Control::Reload { ticket }),
        any::<u32>().prop_map(|ticket| Control::Left { ticket }),
        (any::<(u32, u32)>(), report).prop_map(|((ticket, generation), outcome)| {
            Control::Reloaded { ticket, generation, outcome }
        }),
        any::<u32>().prop_map(|generation| Control::InForce { generation }),
        any::<u32>().prop_map(Control::Trail),
        any::<u32>().prop_map(|uid| Control::Flood { uid }),
        any::<u32>().prop_map(|uid| Control::WantCloser { uid }),
        any::<u32>().prop_map(Control::Closer),
        Just(Control::Ping),
        Just(Control::Pong),
        connections(),
        taking(),
        slot.prop_map(Control::Suspect),
        vec(any::<u64>().prop_map(DepositNumber), 0..9).prop_map(Control::Removed),
        "(.|\n){0,60}".prop_map(Control::Health),
    ]
}

fn opened() -> impl Strategy<Value = Opened<u32>> {
    let others = vec(any::<u32>(), 0..=Opened::<u32>::MOST_OTHERS);
    let payload = vec(any::<u8>(), 0..MAX_PAYLOAD);
    (any::<u32>(), others, payload, option::of(any::<u64>()), option::of(described())).prop_map(
        |(descriptor, others, payload, lease, described)| {
            let opened = Opened::new(descriptor, others, payload.into()).unwrap().leased(lease);
            described.into_iter().fold(opened, Opened::connected)
        },
    )
}

fn described() -> impl Strategy<Value = Described> {
    let relay = prop_oneof![Just(Relay::Direct), Just(Relay::Ktls), Just(Relay::Relayed)];
    (relay, "[a-zä\n]{0,60}", option::of(any::<u64>()))
        .prop_map(|(relay, peer, session)| Described { relay, peer, session })
}

fn taking() -> impl Strategy<Value = Control<u32>> {
    let tag = (0..=i16::MAX).prop_map(|tag| Tag::new(tag).unwrap());
    let index = (0..=i32::MAX).prop_map(|index| Index::new(index).unwrap());
    (tag, vec(index, 0..20), 0..=i32::MAX, option::of(any::<u32>()))
        .prop_map(|(tag, indices, pid, process)| Control::Taking { tag, indices, pid, process })
}

fn connections() -> impl Strategy<Value = Control<u32>> {
    let joined =
        any::<(u32, u32, u32)>().prop_map(|(number, uid, socket)| Joined { number, uid, socket });
    (vec(joined, 0..32), vec(any::<u32>(), 0..40))
        .prop_map(|(joined, left)| Control::Connections { joined, left })
}

fn setup() -> impl Strategy<Value = Setup> {
    let account = any::<(u32, u32)>().prop_map(|(uid, gid)| Account { uid, gid });
    let policy = (".{0,60}", "(.|\n){0,400}").prop_map(|(path, text)| PolicyText { path, text });
    let name = (any::<bool>(), ".{1,40}", any::<Option<u32>>()).prop_map(|(group, name, id)| {
        let kind = if group { NameKind::Group } else { NameKind::User };
        KnownName { kind, name, id }
    });
    let range = any::<(u32, u32, u32)>();
    let range = range.prop_map(|(first, last, user)| Subordinates { first, last, user });
    (
        any::<(i64, u32, bool)>(),
        any::<u32>(),
        option::of(account),
        vec(policy, 0..3),
        (vec(name, 0..5), vec(range, 0..5)),
    )
        .prop_map(|((instance, generation, sees_units), owner, account, policy, more)| {
            let (names, subordinates) = more;
            Setup { instance, generation, sees_units, owner, account, policy, names, subordinates }
        })
}

proptest! {
    #[test]
    fn every_control_message_comes_out_as_it_was_written(sent in control()) {
        let message = sent.clone().into_extended();
        let descriptors = message.descriptors.clone();
        let mut decoder = Decoder::new(Limits::CONTROL);
        decoder.feed(&Message::Extended(message).to_bytes(), descriptors, false);
        let Some(Ok(Message::Extended(came))) = decoder.message() else {
            panic!("no extended message")
        };
        prop_assert_eq!(Control::from_extended(came), Ok(sent));
    }
}

/// What comes of an answer to OPEN with this body after its ticket.
fn answer(body: &[u8], descriptors: Vec<u32>) -> Result<Control<u32>, Malformed> {
    let body = [&7_u32.to_ne_bytes(), body].concat().into();
    Control::from_extended(Extended { op: opcode::OPENED, flags: 0, body, descriptors })
}

#[test]
fn a_resource_brings_no_more_than_the_bounds_allow() {
    let most = Opened::<u32>::MOST_OTHERS;
    let payload = |length: usize| Payload::from(vec![7; length]);
    assert!(Opened::new(1, vec![2; most], payload(MAX_PAYLOAD)).is_some());
    assert_eq!(Opened::new(1, vec![2; most + 1], payload(0)), None);
    assert_eq!(Opened::new(1, vec![], payload(MAX_PAYLOAD + 1)), None);
    let good = |payload: &[u8]| [&[0; 16], payload].concat();
    assert!(answer(&good(&vec![7; MAX_PAYLOAD]), vec![1; most + 1]).is_ok());
    assert!(answer(&good(&vec![7; MAX_PAYLOAD + 1]), vec![1]).is_err());
    assert!(answer(&good(&[]), vec![1; most + 2]).is_err());
    assert!(answer(&good(&[]), vec![]).is_err(), "no descriptor");
}

#[test]
fn a_failure_to_open_brings_no_descriptor() {
    let text = [&5_u32.to_ne_bytes()[..], &2_u32.to_ne_bytes(), b"no"].concat();
    assert!(answer(&text, vec![]).is_ok());
    assert!(answer(&text, vec![1]).is_err());
    assert!(answer(&[&text[..], b"!"].concat(), vec![]).is_err());
}

#[test]
fn what_is_malformed_names_its_opcode() {
    let message = fdbroker_wire::Extended::<u32> {
        op: 96 + 40,
        flags: 0,
        body: vec![].into(),
        descriptors: vec![],
    };
    let told = Control::from_extended(message).unwrap_err().to_string();
    assert!(told.contains("136"), "{told}");
}
