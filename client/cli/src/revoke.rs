//! `fdbroker revoke`: ends leases.

use clap::Args;
use fdbroker::{Broker, Errno, Error, Slot};
use fdbroker_policy::Uid;
use fdbroker_types::escape;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::lease_line::{LeaseLine, is_note};
use crate::output;
use crate::subject_args::user_named;

/// End leases, and shut the connections down
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Revoke {
    /// The numbers of leases, also as lease=N; or slots, for all leases of each
    #[arg(value_name = "LEASE|SLOT", required_unless_present = "user")]
    which: Vec<String>,
    /// End all leases of this user, by name or number; with SLOT, those of that slot
    #[arg(long)]
    user: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker revoke 17                      the lease of this number; fdbroker leases lists them
  fdbroker revoke orders                  all leases of a resource
  fdbroker revoke --user www-data         all leases of a user
  fdbroker revoke --user www-data orders  those of both

A user can end its own leases by their numbers, which fdbroker leases lists. Those of others, and
slots and --user, need the right operate. The connection is shut down for every process that has it.";

const NONE: &str = "nobody has such a lease; what was handed out before the broker's last start may go on. So may \
a connection with neither `revocable` nor `holders` nor `ttl` in the policy: end the process that has it";

const OF_OTHERS: &str = "there is no such lease: all that there are belong to other users; \
fdbroker leases lists them";

impl Revoke {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let user = self.user.as_deref().map(|user| user_named("revoke", user)).transpose()?;
        let user = user.map(|found| found.uid);
        let mut lazy = LazyBroker::new(args);
        let (mut numbers, mut slots) = (Vec::new(), Vec::new());
        for text in &self.which {
            match number(text) {
                Some(number) => numbers.push(number),
                None => slots.push(lazy.slot(text)?),
            }
        }
        if user.is_some() && !numbers.is_empty() {
            let text = "revoke: a number names one lease: leave --user out, or name slots";
            return Err(Failure::Usage(text.to_owned()));
        }
        let broker = lazy.broker()?;
        for number in numbers {
            output::report(&broker.end_lease(number)?)?;
        }
        if slots.is_empty() && user.is_none() {
            return Ok(());
        }
        end_all(broker, &slots, user).map_err(|error| self.named(error))
    }

    /// Has a refusal, or that there is nothing, say what was to be revoked.
    fn named(&self, failure: Failure) -> Failure {
        let user = self.user.iter().map(|user| format!("--user {}", escape(user)));
        let which =
            self.which.iter().filter(|text| number(text).is_none()).map(|text| escape(text));
        let what = user.chain(which).collect::<Vec<_>>().join(" ");
        match failure {
            Failure::Denied(why) => Failure::Denied(format!("revoke {what}: {why}")),
            Failure::Absent(why) => Failure::Absent(format!("revoke {what}: {why}")),
            other => other,
        }
    }
}

/// Ends every lease of these slots, and of this user; without slots, of any.
fn end_all(broker: &mut Broker, slots: &[Slot], user: Option<Uid>) -> Result<(), Failure> {
    let report = match broker.leases() {
        Err(Error::Refused { .. }) => return Err(denied("")),
        report => report?,
    };
    let is_there = |lease: &LeaseLine| {
        slots.is_empty() || lease.slot().is_some_and(|slot| slots.contains(&slot))
    };
    let (found, others): (Vec<_>, Vec<_>) = report
        .lines()
        .filter_map(LeaseLine::parse)
        .filter(is_there)
        .partition(|lease| user.is_none_or(|user| lease.uid() == Some(user)));
    if report.lines().any(is_note) {
        return Err(denied(&numbers(&found)));
    }
    if found.is_empty() {
        return Err(Failure::Absent(if others.is_empty() { NONE } else { OF_OTHERS }.to_owned()));
    }
    for number in found.iter().filter_map(LeaseLine::number) {
        match broker.end_lease(number) {
            Ok(report) => output::report(&report)?,
            // It has ended by itself.
            Err(Error::Reported { errno: Errno::NOENT, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What a user is told who may not end the leases of a slot or of a user, and has these of its own there.
fn denied(own: &str) -> Failure {
    let cure = match own {
        "" => "you have no lease there".to_owned(),
        own => format!("end your own by their numbers: fdbroker revoke {own}"),
    };
    Failure::Denied(format!(
        "refused: all leases of a slot or of a user are ended by an operator; ask the broker's administrator for \
         the right `operate`; {cure}"
    ))
}

fn numbers(leases: &[LeaseLine]) -> String {
    let numbers = leases.iter().filter_map(LeaseLine::number).map(|number| number.to_string());
    numbers.collect::<Vec<_>>().join(" ")
}

/// Returns the number of a lease, which may be copied from the list of leases.
fn number(text: &str) -> Option<u64> {
    text.strip_prefix("lease=").unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_named_as_the_list_has_it() {
        assert_eq!([number("17"), number("lease=17")], [Some(17); 2]);
        assert_eq!([number("1/5"), number("lease=x"), number("orders")], [None; 3]);
    }
}
