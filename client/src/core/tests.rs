use std::sync::Arc;

use fdbroker_wire::claim::What;
use fdbroker_wire::{Add, Info, Slot, Tag, hello};
use proptest::prelude::*;

use super::*;

/// A descriptor: it is closed when the last copy is dropped.
type Descriptor = Arc<()>;

/// What a broker sends, one message each.
#[derive(Clone, Debug)]
enum Sent {
    /// An answer of this size, with a descriptor or without.
    Answer { payload: usize, descriptor: bool },
    /// An event of this tag.
    Event { tag: i16, claim: i32 },
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        (0..40_usize, any::<bool>())
            .prop_map(|(payload, descriptor)| Sent::Answer { payload, descriptor }),
        (0..3_i16, 0..100).prop_map(|(tag, claim)| Sent::Event { tag, claim }),
    ]
}

fn event(tag: i16, claim: i32) -> Event {
    let tag = Tag::new(tag).unwrap();
    let left = std::time::Duration::from_millis(5);
    Event { tag, what: What::ClaimedLive, claim, pid: 7, uid: 8, left }
}

fn answer(payload: usize, descriptor: Option<Descriptor>) -> Message<Descriptor> {
    let ufd = if descriptor.is_some() { 5 } else { -1 };
    let slot = Slot::new(1, i32::try_from(payload).unwrap()).unwrap();
    Message::Add(Add { slot, ufd, payload: vec![b'x'; payload].into(), descriptor })
}

/// A core to which HEL was answered with everything.
fn greeted() -> Core<Descriptor> {
    let mut core = Core::new();
    let ticket = core.ask();
    let granted = Hello { tags: 1, flags: Features::ALL.flags(), key: 9 };
    core.feed(&hello(granted), [], false);
    let (answered, _) = core.answer().unwrap().unwrap();
    assert_eq!((answered, core.features()), (ticket, Some(Features::ALL)));
    core
}

/// The bytes of all messages, and at which byte each descriptor travels.
fn stream(messages: &[Sent], one: &Descriptor) -> (Vec<u8>, Vec<(usize, Descriptor)>) {
    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    for message in messages {
        match *message {
            Sent::Answer { payload, descriptor } => {
                let descriptor = descriptor.then(|| Arc::clone(one));
                descriptors.extend(descriptor.clone().map(|one| (bytes.len(), one)));
                bytes.extend(answer(payload, descriptor).to_bytes());
            }
            Sent::Event { tag, claim } => {
                let event: Extended<Descriptor> = event(tag, claim).into_extended();
                bytes.extend(Message::Extended(event).to_bytes());
            }
        }
    }
    (bytes, descriptors)
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_each_request_has_its_answer_and_each_tag_its_last_event(
        messages in prop::collection::vec(sent(), 0..12),
        cuts in prop::collection::vec(1..30_usize, 1..40),
        given_up in prop::collection::vec(any::<bool>(), 12),
    ) {
        let one = Descriptor::default();
        let mut core = greeted();
        let asked: Vec<_> = messages
            .iter()
            .zip(given_up)
            .filter_map(|(message, given_up)| match message {
                Sent::Answer { payload, descriptor } => Some((core.ask(), *payload, *descriptor, given_up)),
                Sent::Event { .. } => None,
            })
            .collect();
        for (ticket, .., given_up) in &asked {
            if *given_up {
                core.give_up(*ticket);
            }
        }
        let (bytes, descriptors) = stream(&messages, &one);
        let mut descriptors = descriptors.into_iter().peekable();
        let (mut start, mut cuts) = (0, cuts.into_iter().cycle());
        let mut answers = Vec::new();
        while start < bytes.len() {
            let carried = descriptors.next_if(|(place, _)| *place == start).map(|(_, one)| one);
            let mut end = (start + cuts.next().unwrap()).min(bytes.len());
            // A read never goes on into what another send brought descriptors with.
            if let Some((place, _)) = descriptors.peek() {
                end = end.min(*place);
            }
            core.feed(&bytes[start..end], carried, false);
            start = end;
            while let Some(answered) = core.answer().unwrap() {
                answers.push(answered);
            }
        }
        let expected: Vec<_> = asked
            .iter()
            .filter(|(.., given_up)| !given_up)
            .map(|(ticket, payload, descriptor, _)| {
                (*ticket, Ok(answer(*payload, descriptor.then(|| Arc::clone(&one)))))
            })
            .collect();
        prop_assert_eq!(&answers, &expected);
        drop((answers, expected, descriptors));
        prop_assert_eq!(Arc::strong_count(&one), 1, "what nobody took has been closed");
        let mut last: Vec<Event> = Vec::new();
        for message in &messages {
            if let Sent::Event { tag, claim } = *message {
                last.retain(|event| event.tag.get() != tag);
                last.push(event(tag, claim));
            }
        }
        let told: Vec<_> = std::iter::from_fn(|| core.event()).collect();
        prop_assert_eq!(told, last);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_found_from_its_first_byte_on() {
    for asked in [0, 1] {
        let mut core = greeted();
        let bytes = Message::<Descriptor>::Info(Info { used: 1, total: 2 }).to_bytes();
        for _ in 0..asked {
            core.ask();
            core.feed(&bytes, [], false);
        }
        core.feed(&bytes[..1], [], false);
        let found =
            std::iter::repeat_with(|| core.answer()).find(|found| !matches!(found, Ok(Some(_))));
        assert_eq!(found, Some(Err(UNASKED)));
    }
}

#[test]
fn half_an_event_is_no_answer() {
    let mut core = greeted();
    let bytes = Message::<Descriptor>::Extended(event(1, 2).into_extended()).to_bytes();
    for byte in &bytes {
        assert_eq!(core.event(), None);
        core.feed(&[*byte], [], false);
        assert_eq!(core.answer(), Ok(None));
        assert!(!core.mid_answer());
    }
    assert_eq!(core.event(), Some(event(1, 2)));
}

#[test]
fn an_event_without_a_grant_is_a_fault() {
    let bytes = Message::<Descriptor>::Extended(event(1, 2).into_extended()).to_bytes();
    let mut core = Core::<Descriptor>::new();
    core.feed(&bytes, [], false);
    assert!(core.answer().is_err());
}

#[test]
fn an_event_of_a_later_version_is_left_aside() {
    let mut message: Extended<Descriptor> = event(1, 2).into_extended();
    message.body[2..4].copy_from_slice(&99_i16.to_ne_bytes());
    let mut core = greeted();
    core.feed(&Message::Extended(message).to_bytes(), [], false);
    assert_eq!(core.answer(), Ok(None));
    assert_eq!(core.event(), None);
}
