//! `fdbroker tag`: tells how much a tag holds.

use clap::Args;
use serde_json::json;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::output;

/// Show how much a tag holds
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

used is the largest used index plus one, or 0 if the tag is empty. total is the size of all
payloads in bytes.";

impl Tag {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let tag = lazy.tag(&self.tag)?;
        let info = lazy.broker()?.tag(tag)?;
        match self.json {
            true => output::json(&json!({
                "tag": tag.get(), "used": info.used, "total": info.total,
            })),
            false => output::line(format_args!("used {} total {}", info.used, info.total)),
        }
    }
}
