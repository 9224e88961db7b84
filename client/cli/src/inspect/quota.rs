//! `fdbroker quota`: how much of the broker each user has.

use clap::Args;
use fdbroker::Inspected;
use serde_json::Value;

use super::{Object, UserNames};
use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::output::{self, NONE};
use crate::subject_args::user_named;

/// Show how much of the broker users have, of what they may have
#[derive(Args, Debug)]
#[command(after_help = QUOTA)]
pub(crate) struct Quota {
    /// Only this user: a name or a number
    user: Option<String>,
    /// Write one JSON array instead, of objects with: uid, user, connections, deposits, bytes,
    /// descriptors, each also with max_ before it, and opening
    #[arg(long)]
    json: bool,
}

const QUOTA: &str = "\
Examples:
  fdbroker quota
  fdbroker quota www-data
  fdbroker quota --json | jq '.[] | select(.deposits * 10 > .max_deposits * 9) | .user'

Needs the right inspect. Users who have nothing are left out. BYTES are of payloads, DESCRIPTORS those
in deposits, OPENING the resources that are being opened. What the subordinate ids of a user have counts
as that user's. The limits are max_connections_per_uid, max_slots_per_uid and
max_payload_bytes_per_uid of the policy, and the user's part of the broker's descriptor table.";

impl Quota {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let user = self.user.as_deref().map(|user| user_named("quota", user)).transpose()?;
        let told = args.connect_for_answers()?.inspect(Inspected::Users)?;
        let mut users = Object::all(&told)?;
        users.retain(|found| user.as_ref().is_none_or(|user| found.id("uid") == Some(user.uid.0)));
        let mut names = UserNames::default();
        if self.json {
            let objects = users.into_iter().map(|user| object(user, &mut names));
            return output::json(&objects.collect());
        }
        let rows = users.iter().map(|user| row(user, &mut names)).collect();
        output::table(["USER", "CONNECTIONS", "DEPOSITS", "BYTES", "DESCRIPTORS", "OPENING"], rows)
    }
}

fn object(user: Object, names: &mut UserNames) -> Value {
    let name = user.id("uid").and_then(|uid| names.name(uid)).map(str::to_owned);
    user.into_json([("user", name.into())])
}

fn row(user: &Object, names: &mut UserNames) -> [String; 6] {
    let number = |key: &str| user.number(key).unwrap_or(0);
    let of = |key: &str| format!("{}/{}", number(key), number(&format!("max_{key}")));
    [
        user.id("uid").map_or_else(|| NONE.to_owned(), |uid| names.shown(uid)),
        of("connections"),
        of("deposits"),
        of("bytes"),
        of("descriptors"),
        number("opening").to_string(),
    ]
}
