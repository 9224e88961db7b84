//! What a process is told before it becomes a program of the operator's: in one message, with the descriptors of the
//! program.

use fdbroker_wire::Account;
use fdbroker_wire::named::{Fields, NotAField, push};

/// Which program, and as whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProgramOrder {
    /// Whom to become; `None` if the broker was not started by root.
    pub(crate) account: Option<Account>,
    /// The program's path and its arguments.
    pub(crate) command: Vec<String>,
    /// What it is told of the user.
    pub(crate) user: Option<String>,
}

/// The longest message: a command of 64 words and 4096 bytes, and a name.
pub(crate) const MAX_ORDER: usize = 8 * 1024;

const ACCOUNT: &str = "account";
/// Once for each word.
const WORD: &str = "word";
const USER: &str = "user";

impl ProgramOrder {
    /// Returns the message.
    ///
    /// # Errors
    /// When a text of the policy is longer than the policy allows.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, NotAField> {
        let mut bytes = Vec::new();
        if let Some(account) = self.account {
            push(&mut bytes, ACCOUNT, account.to_string().as_bytes())?;
        }
        for word in &self.command {
            push(&mut bytes, WORD, word.as_bytes())?;
        }
        if let Some(user) = &self.user {
            push(&mut bytes, USER, user.as_bytes())?;
        }
        Ok(bytes)
    }

    /// Returns the order that a message tells, or `None` if it tells none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut account, mut command, mut user) = (None, Vec::new(), None);
        for field in Fields::of(bytes) {
            let (name, value) = field?;
            let value = str::from_utf8(value).ok()?;
            match name {
                ACCOUNT => account = Some(Account::read(value)?),
                WORD => command.push(value.to_owned()),
                USER => user = Some(value.to_owned()),
                _ => return None,
            }
        }
        (!command.is_empty()).then_some(Self { account, command, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> ProgramOrder {
        ProgramOrder {
            account: Some(Account { uid: 7, gid: 8 }),
            command: vec!["/x".to_owned(), String::new(), "a b".to_owned()],
            user: Some("ü".to_owned()),
        }
    }

    #[test]
    fn an_order_comes_back_as_it_was() {
        let bare = ProgramOrder { account: None, user: None, ..order() };
        for order in [order(), bare] {
            assert_eq!(ProgramOrder::from_bytes(&order.to_bytes().unwrap()), Some(order));
        }
    }

    #[test]
    fn the_largest_order_fits_into_a_message() {
        let command = vec!["x".repeat(64); 64];
        let order = ProgramOrder { command, user: Some("u".repeat(255)), ..order() };
        assert!(order.to_bytes().unwrap().len() <= MAX_ORDER);
    }

    #[test]
    fn a_message_that_tells_no_order_is_refused() {
        let bytes = order().to_bytes().unwrap();
        assert_eq!(ProgramOrder::from_bytes(b""), None);
        assert_eq!(ProgramOrder::from_bytes(&bytes[..bytes.len() - 1]), None);
        for (name, value) in [("other", ""), ("account", "7:x")] {
            let mut other = bytes.clone();
            push(&mut other, name, value.as_bytes()).unwrap();
            assert_eq!(ProgramOrder::from_bytes(&other), None, "{name}");
        }
        assert_eq!(
            ProgramOrder::from_bytes(
                &ProgramOrder { command: vec![], ..order() }.to_bytes().unwrap()
            ),
            None
        );
    }
}
