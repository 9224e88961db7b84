//! A user who does nothing wrong, as fast as the broker answers.

use std::path::Path;

use crate::socket::connected;
use crate::{request, sys};

/// Asks on many connections, each as soon as it has been answered, until it is killed.
pub fn run(path: &Path, connections: usize) {
    let ask = |number: usize| {
        let path = path.to_owned();
        std::thread::spawn(move || {
            let socket = connected(&path, None).expect("the broker accepts a connection");
            let place = (1, 900_000 + i32::try_from(number).unwrap_or(0));
            let get = request::get(place);
            while sys::send_all(&socket, &get, &[]).is_ok() {
                match sys::receive(&socket, 1 << 12) {
                    Ok(received) if !received.bytes.is_empty() => {}
                    _ => break,
                }
            }
        })
    };
    let threads: Vec<_> = (0..connections).map(ask).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
}
