//! What a helper answers, in one message: a payload with the socket as a descriptor, or why there is none.
//!
//! Its supervisor runs as root and believes none of it: it takes the payload as it is, and shortens and escapes
//! the text. What is recorded of a connection stands before the payload.

use fdbroker_types::escape;

use super::new_connection::NewConnection;

/// The longest answer.
pub(crate) const MAX_ANSWER: usize = 1 + NewConnection::MAX_SIZE;
/// The longest text of a failure, in bytes before it is escaped.
const MAX_TEXT: usize = 600;

/// What was being done when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Looking the server's name up.
    Lookup,
    /// Connecting.
    Connect,
    /// Encrypting the connection, and verifying whose it is.
    Tls,
    /// Proving who the broker is, until the server is ready.
    LogIn,
    /// Anything before that: the helper itself.
    Begin,
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// Whether the time was up.
    pub(crate) timed_out: bool,
    pub(crate) text: String,
}

/// A helper's answer, without the descriptor.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer<'a> {
    /// There is a connection.
    Made(NewConnection<'a>),
    /// The same, and the helper stays: the descriptor is the caller's end of a pair, and the helper passes on what
    /// goes over it.
    Relayed(NewConnection<'a>),
    Failed(Failure),
}

const MADE: u8 = 0;
const FAILED: u8 = 1;
const TIMED_OUT: u8 = 2;
const RELAYED: u8 = 3;

impl Step {
    const ALL: [(Self, u8); 5] =
        [(Self::Lookup, 0), (Self::Connect, 1), (Self::LogIn, 2), (Self::Begin, 3), (Self::Tls, 4)];

    fn number(self) -> u8 {
        Self::ALL.iter().find(|(step, _)| *step == self).map_or(3, |(_, number)| *number)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, of)| *of == number).map(|(step, _)| *step)
    }

    /// What the log says was being done.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "name look-up",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::LogIn => "log-in",
            Self::Begin => "helper",
        }
    }
}

impl Failure {
    pub(crate) fn new(step: Step, text: impl Into<String>) -> Self {
        Self { step, timed_out: false, text: text.into() }
    }

    pub(crate) fn timed_out(step: Step, text: impl Into<String>) -> Self {
        Self { timed_out: true, ..Self::new(step, text) }
    }
}

impl<'a> Answer<'a> {
    /// Returns the message.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Made(connection) => connection.to_bytes(MADE),
            Self::Relayed(connection) => connection.to_bytes(RELAYED),
            Self::Failed(failure) => {
                let kind = if failure.timed_out { TIMED_OUT } else { FAILED };
                [&[kind, failure.step.number()], shortened(failure.text.as_bytes())].concat()
            }
        }
    }

    /// Returns the answer, or `None` if the message is none.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            MADE => return NewConnection::from_bytes(rest).map(Self::Made),
            RELAYED => return NewConnection::from_bytes(rest).map(Self::Relayed),
            _ => {}
        }
        let (step, text) = rest.split_first()?;
        let text = escape(&String::from_utf8_lossy(shortened(text)));
        let timed_out = *kind == TIMED_OUT;
        let failure = Failure { step: Step::of(*step)?, timed_out, text };
        [FAILED, TIMED_OUT].contains(kind).then_some(Self::Failed(failure))
    }
}

fn shortened(text: &[u8]) -> &[u8] {
    text.get(..MAX_TEXT).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was() {
        for (step, _) in Step::ALL {
            let failure = Failure::timed_out(step, "ü: it");
            for failure in [failure.clone(), Failure { timed_out: false, ..failure }] {
                let answer = Answer::Failed(failure);
                assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
            }
        }
        let connection = NewConnection { peer: "unix:/ü", session: Some(7), payload: b"x" };
        let without = NewConnection { session: None, ..connection };
        for made in [Answer::Made(connection), Answer::Relayed(without)] {
            assert_eq!(Answer::from_bytes(&made.to_bytes()), Some(made));
        }
    }

    #[test]
    fn a_text_that_misleads_is_escaped_and_shortened() {
        let text = format!("a\n\u{1b}[2J{}", "x".repeat(100_000));
        let failure = Failure::new(Step::LogIn, text);
        let bytes = Answer::Failed(failure).to_bytes();
        let Some(Answer::Failed(Failure { text, .. })) = Answer::from_bytes(&bytes) else {
            panic!("no failure")
        };
        assert!(text.starts_with("a\\n\\u{1b}[2Jxx") && text.len() < 1000, "{text}");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(Answer::from_bytes(b""), None);
        assert_eq!(Answer::from_bytes(&[FAILED]), None);
        assert_eq!(Answer::from_bytes(&[FAILED, 9, 65]), None);
        assert_eq!(Answer::from_bytes(&[7, 0, 65]), None);
        assert_eq!(Answer::from_bytes(&[0; MAX_ANSWER + 1]), None);
        let cut = NewConnection { peer: "tcp", session: None, payload: b"" }.to_bytes(MADE);
        (1..cut.len()).for_each(|length| assert_eq!(Answer::from_bytes(&cut[..length]), None));
    }
}
