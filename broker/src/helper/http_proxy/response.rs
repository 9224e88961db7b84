//! What an HTTP proxy answers to the request to connect: the head of a response. What follows a success is the server's.

use std::ops::Range;

use httparse::{EMPTY_HEADER, Error, Response, Status};

use crate::helper::answer::{Failure, Step};
use crate::helper::server_words::{Told, shown};
use crate::helper::stream::Stream;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 8192;
/// The most headers of an answer.
const MAX_HEADERS: usize = 64;
/// How every answer begins.
const BEGINNING: &[u8] = b"HTTP/1.";
/// The length of the version and the number of a status line.
const STATUS: usize = "HTTP/1.1 200".len();

/// The proxy wants a log-in, or another one: 407, or 401 of some proxies.
const UNAUTHORIZED: [u16; 2] = [401, 407];
/// The methods of log-in that the proxy accepts.
const METHODS: &str = "Proxy-Authenticate";

/// Takes the answer, and no byte after its head.
///
/// # Errors
/// Why the proxy does not connect.
pub(super) fn take(stream: &mut Stream<'_>, told: Told<'_>) -> Result<(), Failure> {
    let head = head(stream)?;
    let bytes = stream.bytes(head);
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Err(Error::TooManyHeaders) => return Err(too_long(MAX_HEADERS, "headers")),
        _ => return Err(malformed()),
    }
    let why = match response.code {
        Some(200..=299) => return Ok(()),
        Some(code) if UNAUTHORIZED.contains(&code) => refused_login(&response, told),
        _ => "the proxy does not connect to `target`",
    };
    let line = bytes.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
    // Version and number have been parsed; the rest of the line is free.
    let said = shown(line, line.get(..STATUS).unwrap_or_default(), told)?;
    Err(Failure::new(Step::LogIn, format!("{why}: it says {said}")))
}

/// Takes the head of the answer, up to the empty line.
fn head(stream: &mut Stream<'_>) -> Result<Range<usize>, Failure> {
    let mut head = stream.take(0)?;
    while head.len() < MAX_HEAD {
        head.end = stream.take(1)?.end;
        let bytes = stream.bytes(head.clone());
        if bytes.ends_with(b"\n\r\n") || bytes.ends_with(b"\n\n") {
            return Ok(head);
        }
        // A server of another protocol may say no more.
        if bytes.iter().zip(BEGINNING).any(|(found, expected)| found != expected) {
            return Err(malformed());
        }
    }
    Err(too_long(MAX_HEAD, "bytes"))
}

fn refused_login(response: &Response<'_, '_>, told: Told<'_>) -> &'static str {
    let methods = response.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(METHODS));
    let mut methods = methods.flat_map(|it| it.value.split(|byte| *byte == b',')).peekable();
    if !matches!(told, Told::Password) {
        "the proxy asks for a log-in, and the policy names none: add `user` and `password`"
    } else if methods.peek().is_none() || methods.any(is_basic) {
        "the proxy refuses the user or the password"
    } else {
        "the proxy accepts no log-in by Basic"
    }
}

fn is_basic(method: &[u8]) -> bool {
    let name = method.trim_ascii_start().split(u8::is_ascii_whitespace).next();
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"basic"))
}

fn too_long(most: usize, of: &str) -> Failure {
    Failure::new(Step::LogIn, format!("the proxy's answer has more than {most} {of}"))
}

fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the proxy's answer is not valid: is it an HTTP proxy?")
}
