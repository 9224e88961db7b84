//! The first words of a client, apart from its socket: requests for encryption, until it says what it wants.

use std::io;

use super::startup_message::{ATTEMPTS, Beginning, LONGEST};

/// The length of a message before the session, and its code.
const HEAD: usize = 8;

/// What a client has said so far.
#[derive(Default, Debug)]
pub struct Opening {
    /// Of a message that is not all there.
    said: Vec<u8>,
    /// How often the client has asked for encryption.
    requests: usize,
}

impl Opening {
    /// Takes what the client says. Requests for encryption are declined: what the client is to hear is added to
    /// `to_client`. Returns what the client wants, once it has said that, and the bytes after it.
    ///
    /// # Errors
    /// Unsupported if it speaks another version of the protocol, or asks for encryption again and again; InvalidData
    /// if a message has no length that is possible.
    pub fn client_says(
        &mut self,
        bytes: &[u8],
        to_client: &mut Vec<u8>,
    ) -> io::Result<Option<(Beginning, Vec<u8>)>> {
        self.said.extend(bytes);
        while let Some((message, rest)) = split(&self.said)? {
            let (code, body) = message.split_at_checked(4).unwrap_or_default();
            let beginning = Beginning::parse(number(code), body);
            self.said = rest.to_vec();
            match beginning {
                Some(Beginning::Encryption) if self.requests < ATTEMPTS => {
                    self.requests = self.requests.saturating_add(1);
                    to_client.push(b'N');
                }
                None | Some(Beginning::Encryption) => {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                Some(wanted) => return Ok(Some((wanted, std::mem::take(&mut self.said)))),
            }
        }
        Ok(None)
    }
}

/// The first message of a client without its length, and the bytes after it; `None` if it is not all there.
fn split(said: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let Some((length, _)) = said.split_at_checked(4) else { return Ok(None) };
    let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
    if !(HEAD..=LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let parts = said.split_at_checked(length);
    Ok(parts.map(|(message, rest)| (message.get(4..).unwrap_or_default(), rest)))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    const CANCEL: [u8; 16] = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 2, 5, 6, 7, 8];

    #[test]
    fn encryption_is_declined_until_the_client_wants_something_else() {
        let (mut opening, mut heard) = (Opening::default(), Vec::new());
        assert!(opening.client_says(&TLS, &mut heard).unwrap().is_none());
        assert_eq!(heard, b"N");
        let said = [&TLS[..], &CANCEL, b"later"].concat();
        let wanted = opening.client_says(&said, &mut heard).unwrap();
        let Some((Beginning::Cancel(request), rest)) = wanted else { panic!("{wanted:?}") };
        assert_eq!(
            (heard, request, rest),
            (b"NN".to_vec(), CANCEL[8..].to_vec(), b"later".to_vec())
        );
    }

    #[test]
    fn a_client_that_speaks_something_else_is_an_error() {
        for said in [&b"GET / HTTP/1.1"[..], &[0, 0, 0, 8, 0, 2, 0, 0], &TLS.repeat(5)] {
            assert!(Opening::default().client_says(said, &mut Vec::new()).is_err(), "{said:?}");
        }
    }
}
