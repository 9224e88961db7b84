//! `fdbroker tag`: tells how much a tag holds.

use clap::Args;
use serde_json::json;

use super::contact::Contact;
use super::{Failure, Session, output};

/// Tell how much a tag holds
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tag {
    /// The tag, such as 10 or web
    tag: String,
    /// Write one JSON object instead: tag, used, total
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker tag web
  fdbroker tag --json 10

used is the largest used index plus one, 0 when the tag is empty; total is the sum of the
payloads in bytes.";

impl Tag {
    /// Runs it.
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut contact = Contact::new(session);
        let tag = contact.tag(&self.tag)?;
        let info = contact.broker()?.tag(tag)?;
        match self.json {
            true => output::json(&json!({
                "tag": tag.get(), "used": info.used, "total": info.total,
            })),
            false => output::line(format_args!("used {} total {}", info.used, info.total)),
        }
    }
}
