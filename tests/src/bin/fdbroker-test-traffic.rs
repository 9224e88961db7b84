//! The processes of the library's `traffic`: a service with many connections, its clients, a client of the broker
//! that measures how long it waits, and a server that sends back what it receives.

use std::path::Path;
use std::{panic, process};

use fdbroker_tests::sys;
use fdbroker_tests::traffic::{asker, clients, echo, service};

fn main() {
    end_with_the_first_panic();
    sys::raise_descriptors();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", broker, connections, start] => {
            let start = service::Start::from_word(start).expect("a way to start");
            service::run(Path::new(broker), number(connections), start);
        }
        ["clients", address, connections] => {
            clients::run(address.parse().expect("an address"), number(connections));
        }
        ["ask", broker, slot] => asker::run(Path::new(broker), slot.parse().expect("a slot")),
        ["echo", path] => echo::run(Path::new(path)),
        _ => panic!("a role and its arguments"),
    }
}

/// Whichever thread it is in: the test notices the end.
fn end_with_the_first_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |told| {
        tell(told);
        process::exit(101);
    }));
}

fn number(word: &str) -> u32 {
    word.parse().expect("a number")
}
