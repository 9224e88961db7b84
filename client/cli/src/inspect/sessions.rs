//! `fdbroker sessions`: who is connected to the broker.

use clap::Args;
use fdbroker::Inspected;
use fdbroker_host::name_of;
use rustix::process::Pid;
use serde_json::Value;

use super::{Object, UserNames, age};
use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::output::{self, NONE};

/// List who is connected to the broker, what each owns, and what it waits for
#[derive(Args, Debug)]
#[command(after_help = SESSIONS)]
pub(crate) struct Sessions {
    /// Write one JSON array instead, of objects with: pid, program, uid, user, unit, since, age
    /// (in seconds), asks, owns, waits
    #[arg(long)]
    json: bool,
}

const SESSIONS: &str = "\
Examples:
  fdbroker sessions
  fdbroker sessions --json | jq '.[] | select(.waits != [])'

Needs the right inspect. OWNS has the tags that the connection owns, WAITS those that it claims or
whose turn it waits for. STATE is asks while a request is being served, or waits for its turn. PROGRAM is
the name that the process has given itself; it is - for a process that has ended, or that is not
seen here. PID is 0 for a process of another PID namespace.";

impl Sessions {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let told = args.connect_for_answers()?.inspect(Inspected::Sessions)?;
        let (sessions, mut names) = (Object::all(&told)?, UserNames::default());
        if self.json {
            let objects = sessions.into_iter().map(|session| object(session, &mut names));
            return output::json(&objects.collect());
        }
        let rows = sessions.iter().map(|session| row(session, &mut names)).collect();
        output::table(["PID", "PROGRAM", "USER", "UNIT", "AGE", "STATE", "OWNS", "WAITS"], rows)
    }
}

fn object(session: Object, names: &mut UserNames) -> Value {
    let user = session.id("uid").and_then(|uid| names.name(uid)).map(str::to_owned);
    let program = program(&session);
    session.into_json([("user", user.into()), ("program", program.into())])
}

fn row(session: &Object, names: &mut UserNames) -> [String; 8] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let tags = |key| match session.texts(key).join(",") {
        none if none.is_empty() => NONE.to_owned(),
        tags => tags,
    };
    [
        session.number("pid").unwrap_or(0).to_string(),
        or_none(program(session)),
        or_none(session.id("uid").map(|uid| names.shown(uid))),
        or_none(session.text("unit").filter(|unit| *unit != "none").map(str::to_owned)),
        or_none(session.number("age").map(age)),
        if session.is("asks") { "asks" } else { "idle" }.to_owned(),
        tags("owns"),
        tags("waits"),
    ]
}

/// The name of its process, if that is seen here.
fn program(session: &Object) -> Option<String> {
    let pid = session.number("pid").and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).and_then(name_of)
}
