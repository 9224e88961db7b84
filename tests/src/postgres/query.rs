//! A query over a connection that somebody else has logged in, and what the server answers: enough to see that
//! the connection is whole.

use std::io::{self, Read, Write};

/// Sends a query, and returns the first value of its first row; `early` is what the server has sent before.
///
/// # Errors
/// What the server says, and as read(2) and write(2).
pub fn select(mut connection: impl Read + Write, early: &[u8], query: &str) -> io::Result<String> {
    let length = u32::try_from(4 + query.len() + 1).unwrap();
    let bytes = [b"Q", &length.to_be_bytes()[..], query.as_bytes(), b"\0"].concat();
    connection.write_all(&bytes)?;
    let mut answers = early.chain(connection);
    let mut found = None;
    loop {
        let (kind, body) = message(&mut answers)?;
        match kind {
            b'D' => found = found.or(Some(first_value(&body))),
            b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            b'Z' => return found.ok_or_else(|| io::Error::other("no row")),
            _ => {}
        }
    }
}

fn message(answers: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    answers.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    let mut body = vec![0; length.checked_sub(4).expect("a length counts itself")];
    answers.read_exact(&mut body)?;
    Ok((kind, body))
}

/// The first value of a DataRow, which has at least one.
fn first_value(row: &[u8]) -> String {
    let length = usize::try_from(u32::from_be_bytes(row[2..6].try_into().unwrap())).unwrap();
    String::from_utf8(row[6..6 + length].to_vec()).unwrap()
}
