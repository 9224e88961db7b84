//! `fdbroker leases`: who has what on terms.

use clap::Args;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lease_line::{LeaseLine, NOTE, is_note};
use crate::output;
use crate::terminal;

/// List who has connections that can be revoked: you, or as an operator everybody
#[derive(Args, Debug)]
#[command(after_help = LEASES)]
pub(crate) struct Leases {
    /// Write one JSON array instead, of objects with the same keys; never and none are null
    #[arg(long)]
    json: bool,
}

const LEASES: &str = "\
Examples:
  fdbroker leases
  fdbroker leases --json | jq '.[] | select(.session == 4711)'

Without the right inspect or operate, these are the leases of your own user, and standard error says so.
Prints a line of KEY=VALUE for each:
  lease    its number, for fdbroker revoke
  slot     of the resource
  name     of the resource
  uid      the user that has it
  pid      the process that asked for it; the lease ends with that process
  held     for how many seconds
  ends_in  in how many seconds it ends (ttl), or never
  relay    direct: it is the socket to the server; ktls: the same, and the kernel encrypts it;
           relayed: the broker encrypts it
  peer     the address of the server
  session  the number by which the server knows the session, or none";

impl Leases {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let report = args.connect_for_answers()?.leases()?;
        let (notes, leases): (Vec<_>, Vec<_>) = report.lines().partition(|line| is_note(line));
        for note in notes {
            let note = note.trim_start_matches([NOTE, ' ']);
            terminal::complain(format_args!("fdbroker: {note}"));
        }
        if self.json {
            let leases = leases.into_iter().filter_map(LeaseLine::parse);
            return output::json(&leases.map(|lease| lease.to_json()).collect());
        }
        output::report(&leases.join("\n"))
    }
}
