use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use fdbroker_wire::{Hello, Slot, add_head, get};
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::*;

/// Somebody with a number, who may go.
#[derive(Clone, Debug)]
struct Someone(u32, Rc<Cell<bool>>);

impl Someone {
    fn new(number: u32) -> Self {
        Self(number, Rc::default())
    }

    fn go(&self) {
        self.1.set(true);
    }
}

impl PartialEq for Someone {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Waiter for Someone {
    fn is_gone(&self) -> bool {
        self.1.get()
    }
}

fn slot(index: i32) -> Slot {
    Slot::new(1, index).unwrap()
}

fn asking(index: i32) -> OwnedRequest {
    OwnedRequest::of(&Outgoing::plain(&get(slot(index))), None).unwrap()
}

/// A channel that has been greeted, its socket, and the broker's end.
fn greeted() -> (Channel<Someone>, UnixStream, UnixStream) {
    let (client, mut broker) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(None);
    channel.ask(asking(0), Someone::new(0));
    channel.write(&client).unwrap();
    broker.read_exact(&mut [0; 16]).unwrap();
    broker.write_all(&hello(Hello { tags: 0, flags: Features::ALL.flags(), key: 1 })).unwrap();
    assert!(channel.read(&client).unwrap());
    channel.write(&client).unwrap();
    broker.read_exact(&mut [0; 8]).unwrap();
    broker.write_all(&add_head(slot(0), -1, 0)).unwrap();
    assert!(channel.read(&client).unwrap());
    assert_eq!(channel.answered().unwrap().0, Someone::new(0));
    (channel, client, broker)
}

/// What the broker's end is sent, until nothing more comes: to a core it is all the same who
/// sends a message, as long as it has asked for so many.
fn requests(
    channel: &mut Channel<Someone>,
    client: &UnixStream,
    broker: &UnixStream,
) -> Vec<Message<OwnedFd>> {
    let (mut core, mut buffer) = (Core::new(), vec![0; 4096]);
    for _ in 0..100 {
        core.ask();
    }
    let mut requests = Vec::new();
    loop {
        channel.write(client).unwrap();
        match receive(broker, &mut buffer, RecvFlags::DONTWAIT, &mut core) {
            Ok(count) => assert!(count > 0),
            Err(Os::AGAIN) => return requests,
            Err(errno) => panic!("{errno}"),
        }
        while let Some((_, message)) = core.answer().unwrap() {
            requests.push(message.unwrap());
        }
    }
}

#[test]
fn what_was_sent_in_part_is_sent_whole_with_its_descriptor_and_what_nobody_wants_is_not() {
    let (mut channel, client, broker) = greeted();
    // The kernel takes no less, and cuts what is larger than half of it.
    set_socket_send_buffer_size(&client, 1).unwrap();
    let payload = vec![7; 32768];
    let file = tempfile::tempfile().unwrap();
    let adding = |index| {
        let head = add_head(slot(index), 5, payload.len());
        let descriptors = vec![file.as_fd()];
        let message = Outgoing { head: &head, payload: &payload, descriptors };
        OwnedRequest::of(&message, None).unwrap()
    };
    let someone = [1, 2, 3].map(Someone::new);
    for (index, someone) in (1..).zip(&someone) {
        channel.ask(adding(index), someone.clone());
    }
    channel.write(&client).unwrap();
    let (_, sent) = channel.sending.as_ref().unwrap();
    assert!((1..32784).contains(sent), "{sent} bytes of the first are sent");
    someone[0].go();
    someone[1].go();
    let heard = requests(&mut channel, &client, &broker);
    let slots: Vec<_> = heard
        .iter()
        .map(|message| match message {
            Message::Add(add) => (add.slot, add.payload == payload, add.descriptor.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(slots, [(slot(1), true, true), (slot(3), true, true)]);
    assert!(!channel.wants_write());
}

#[test]
fn what_was_given_up_is_not_sent_or_its_answer_is_dropped() {
    let (mut channel, client, mut broker) = greeted();
    for index in 1..=3 {
        channel.ask(asking(index), Someone::new(index.unsigned_abs()));
    }
    channel.give_up(&Someone::new(1));
    assert_eq!(requests(&mut channel, &client, &broker).len(), 2);
    channel.give_up(&Someone::new(2));
    for index in 2..=3 {
        broker.write_all(&add_head(slot(index), -1, 0)).unwrap();
    }
    while channel.read(&client).unwrap() {}
    let (someone, response) = channel.answered().unwrap();
    assert_eq!(someone, Someone::new(3));
    let Response::Message(Message::Add(add)) = response else { panic!("{response:?}") };
    assert_eq!(add.slot, slot(3));
    assert!(channel.answered().is_none());
}

#[test]
fn a_failure_is_that_of_the_oldest_and_what_was_not_sent_may_be_asked_again() {
    let (mut channel, client, broker) = greeted();
    channel.ask(asking(1), Someone::new(1));
    channel.ask(asking(2), Someone::new(2));
    channel.write(&client).unwrap();
    channel.ask(asking(3), Someone::new(3));
    drop(broker);
    let failure = channel.read(&client).unwrap_err();
    assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
    let told: Vec<_> = channel
        .abandon(Failure::Nonsense("for instance"))
        .into_iter()
        .map(|one| (one.waiter.0, one.lost.sent, one.lost.failure.lasts()))
        .collect();
    assert_eq!(told, [(1, true, true), (2, true, false), (3, false, false)]);
}

#[test]
fn the_time_of_an_answer_begins_when_those_before_it_are_there() {
    let (mut channel, client, mut broker) = greeted();
    assert_eq!(channel.deadline(), None);
    channel.timeout = Some(Duration::from_secs(60));
    channel.ask(asking(1), Someone::new(1));
    channel.ask(asking(2), Someone::new(2));
    channel.write(&client).unwrap();
    let first = channel.deadline().unwrap();
    channel.check_time().unwrap();
    broker.write_all(&add_head(slot(1), -1, 0)).unwrap();
    assert!(channel.read(&client).unwrap());
    let second = channel.deadline().unwrap();
    assert!(second > first);
    // Half of the next: it has as long again.
    broker.write_all(&add_head(slot(2), -1, 0)[..5]).unwrap();
    assert!(channel.read(&client).unwrap());
    channel.check_time().unwrap();
    let third = channel.deadline().unwrap();
    assert!(third > second);
    channel.check_time().unwrap();
    assert_eq!(channel.deadline(), Some(third), "but once");
    channel.timeout = Some(Duration::ZERO);
    assert!(matches!(channel.check_time(), Err(Failure::Timeout(_))));
}
