//! A log-in that the policy itself spells out, step by step: for servers that the broker knows nothing of.

mod step;
mod text;

use std::fmt;

use fdbroker_types::quoted;

pub use self::step::{BadScriptStep, ScriptStep};
pub use self::text::{ScriptFill, ScriptPart, ScriptText};
use crate::resource::credential::Credential;

/// How the broker logs in to any server that speaks in lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptAuth {
    /// What the payload calls the protocol.
    pub protocol: String,
    /// What stands for `{user}`.
    pub user: Option<String>,
    /// Where the password is, which stands for `{password}`.
    pub password: Option<Credential>,
    /// What is expected and sent, in this order.
    pub steps: Vec<ScriptStep>,
}

impl fmt::Display for ScriptAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, user, password, steps } = self;
        write!(f, "script {protocol} of {} steps", steps.len())?;
        if let Some(user) = user {
            write!(f, " user {}", quoted(user))?;
        }
        password.iter().try_for_each(|password| write!(f, " password {password}"))
    }
}
