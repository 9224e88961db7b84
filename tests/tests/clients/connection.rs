//! The payload of a connection, as each of the clients reads the same bytes.

use std::io::Write;
use std::process::{Command, Stdio};

use fdbroker::{Connection, MAX_PAYLOAD};
use fdbroker_tests::Directory;
use fdbroker_wire::connection::{BACKEND_KEY, EARLY, PEER, RELAY};

use crate::{capi, python};

/// What is asked for.
const NAMES: [&str; 6] = ["protocol", PEER, "parameter.server_version", BACKEND_KEY, EARLY, "x"];

const PYTHON: &str = "
import sys, fdbroker
for line in sys.stdin:
    try:
        fields = fdbroker.Connection(bytes.fromhex(line)).fields
        print(*(fields[name].hex() if name in fields else '-' for name in sys.argv[1:]))
    except ValueError:
        print('refused')
";

fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_ne_bytes();
    [&length(name)[..], &length(value), name, value].concat()
}

fn whole() -> Vec<u8> {
    [
        field(b"protocol", b"postgres"),
        field(PEER.as_bytes(), b"tcp:192.0.2.7:5432"),
        field(b"parameter.server_version", b"15.6"),
        field(BACKEND_KEY.as_bytes(), &[0, 255, 10, 13]),
        field(b"a-name-of-later", b""),
        field(EARLY.as_bytes(), b"S\0\0\0\x04"),
    ]
    .concat()
}

/// Good payloads, then each of them damaged.
fn payloads() -> Vec<Vec<u8>> {
    let whole = whole();
    let first = field(b"protocol", b"tcp");
    let with = |more: Vec<u8>| [first.clone(), more].concat();
    let filled = |size: usize| {
        let room = size - first.len() - field(EARLY.as_bytes(), b"").len();
        with(field(EARLY.as_bytes(), &vec![7; room]))
    };
    let mut payloads = vec![whole.clone(), first.clone(), filled(MAX_PAYLOAD)];
    payloads.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
    payloads.extend([
        filled(MAX_PAYLOAD + 1),
        field(PEER.as_bytes(), b"x"),
        with(first.clone()),
        with(field(b"", b"x")),
        with(field(b"a b", b"x")),
        with(field("\u{e4}".as_bytes(), b"x")),
        with(field(&[b'n'; 255], b"x")),
        with(field(&[b'n'; 256], b"x")),
        with(vec![255; 4]),
        vec![0; 64],
        b"some other deposit".to_vec(),
    ]);
    payloads
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the library for Rust reads.
fn expected(payload: &[u8]) -> String {
    let Some(connection) = Connection::parse(payload) else { return "refused".to_owned() };
    let words = NAMES.map(|name| connection.get(name).map_or_else(|| "-".to_owned(), hex));
    words.join(" ")
}

#[track_caller]
fn assert_reads_the_same(command: &mut Command) {
    let payloads = payloads();
    let lines: String = payloads.iter().map(|payload| hex(payload) + "\n").collect();
    let mut child = command
        .args(NAMES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the reader starts");
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    let read: Vec<_> = said.lines().map(str::trim_end).collect();
    assert_eq!(read.len(), payloads.len());
    for (payload, read) in payloads.iter().zip(read) {
        assert_eq!(read, expected(payload).trim_end(), "{}", hex(payload));
    }
}

#[test]
fn the_library_refuses_what_is_no_payload_of_a_connection() {
    let read: Vec<_> = payloads().iter().map(|payload| expected(payload)).collect();
    assert!(read[0].contains("706f737467726573") && read[0].ends_with('-'), "{}", read[0]);
    assert!(!read[1].contains("refused") && !read[2].contains("refused"));
    let parts = read.iter().filter(|read| *read != "refused").count();
    // The whole, two others, the whole cut at the end of five fields, and one with the longest name.
    assert_eq!(parts, 3 + 5 + 1);
    let without_descriptor =
        fdbroker::Deposit { descriptor: None, ufd: -1, payload: payloads().swap_remove(0) };
    assert!(without_descriptor.connection().is_none());
    assert_eq!(Connection::parse(&whole()).unwrap().text(RELAY), None);
}

#[test]
fn python_reads_the_payload_of_a_connection_likewise() {
    let Some(mut python) = python::python("the payload of a connection in Python") else { return };
    assert_reads_the_same(python.args(["-W", "error", "-c", PYTHON]));
}

#[test]
fn c_reads_the_payload_of_a_connection_likewise() {
    let directory = Directory::new();
    let program = directory.join("connection");
    capi::build("c/connection.c", &program);
    assert_reads_the_same(&mut Command::new(&program));
    if capi::there_is("valgrind", "the payload of a connection under valgrind") {
        let mut valgrind = Command::new("valgrind");
        assert_reads_the_same(valgrind.args(["-q", "--error-exitcode=99"]).arg(&program));
    }
}
