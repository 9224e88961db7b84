//! A query over a connection that somebody else has logged in, and what the server answers: enough to see that the
//! connection is whole.

use std::io::{self, Read, Write};

/// COM_QUERY.
const QUERY: u8 = 3;
/// The first byte of a packet that tells an error.
const ERROR: u8 = 0xff;

/// Sends a query, and returns the first row's values of one answer; `early` is what the server has sent before.
///
/// # Errors
/// What the server says, and as read(2) and write(2).
///
/// # Panics
/// When the answer has no row, or a value of more than 250 bytes.
pub fn select(
    mut connection: impl Read + Write,
    early: &[u8],
    query: &str,
) -> io::Result<Vec<String>> {
    let length = u8::try_from(1 + query.len()).unwrap();
    connection.write_all(&[&[length, 0, 0, 0, QUERY], query.as_bytes()].concat())?;
    let mut answers = early.chain(connection);
    let columns = packet(&mut answers)?[0];
    // A description of each column, and the end of them.
    for _ in 0..=columns {
        packet(&mut answers)?;
    }
    let row = packet(&mut answers)?;
    let mut rest = &row[..];
    let mut values = Vec::new();
    for _ in 0..columns {
        let (length, after) = rest.split_first().expect("there is a value");
        let (value, after) = after.split_at(usize::from(*length));
        values.push(String::from_utf8(value.to_vec()).unwrap());
        rest = after;
    }
    // The end of the rows: the connection can be asked again.
    packet(&mut answers)?;
    Ok(values)
}

fn packet(answers: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    answers.read_exact(&mut head)?;
    let [low, middle, high, _] = head;
    let mut body = vec![0; usize::try_from(u32::from_le_bytes([low, middle, high, 0])).unwrap()];
    answers.read_exact(&mut body)?;
    match body.first() {
        Some(&ERROR) => Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
        _ => Ok(body),
    }
}
