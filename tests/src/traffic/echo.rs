//! A server that sends back what it receives.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::{fs, thread};

use super::orders::{answer, next};

/// Listens at a path until the test has gone.
pub fn run(path: &Path) {
    let listener = UnixListener::bind(path).expect("the path is free");
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("it is ours");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection is accepted");
            thread::spawn(move || echo(stream));
        }
    });
    answer(&0);
    while next().is_some() {}
}

fn echo(mut stream: UnixStream) -> io::Result<()> {
    let mut bytes = [0; 256];
    loop {
        let count = stream.read(&mut bytes)?;
        stream.write_all(&bytes[..count])?;
        if count == 0 {
            return Ok(());
        }
    }
}
