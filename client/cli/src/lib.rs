//! The command `fdbroker`: what its command line is, and which file does which part.
//!
//! One file a subcommand. Each returns nothing when all is done, or a `Failure`: one sentence on
//! standard error, and an exit status that scripts can rely on.
#![forbid(unsafe_code)]

mod add;
mod check;
mod connect_args;
mod connection;
mod credentials;
mod del;
mod describe;
mod descriptor;
mod exec;
mod explain;
mod failure;
mod get;
mod inherited;
mod inspect;
mod lazy_broker;
mod lease_line;
mod leases;
mod list;
mod listen;
mod notes;
mod operate;
mod output;
mod plain_text;
mod policy_names;
mod reload_signal;
mod revoke;
mod running;
mod sockets;
mod subject_args;
mod tag;
mod terminal;
mod who;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use connect_args::ConnectArgs;
use failure::Failure;

/// Fetch descriptors and data from a broker, or store your own
///
/// A broker keeps deposits in slots: a descriptor, a payload of up to 32 KiB, or both. It also opens
/// devices and files for the users that its policy allows. SLOT is a number, such as 10/3, or a
/// name of the broker's policy: web/3, or the name of a resource, such as tun.
#[derive(Parser, Debug)]
#[command(name = "fdbroker", version, after_long_help = STATUSES)]
struct CommandLine {
    #[command(flatten)]
    args: ConnectArgs,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    Get(get::Get),
    Add(add::Add),
    Del(del::Del),
    Tag(tag::Tag),
    List(list::List),
    Exec(exec::Exec),
    Reload(operate::Reload),
    Purge(operate::Purge),
    Status(operate::Status),
    Sessions(inspect::sessions::Sessions),
    Quota(inspect::quota::Quota),
    Leases(leases::Leases),
    Revoke(revoke::Revoke),
    Check(check::Check),
    Explain(explain::Explain),
    Who(who::Who),
}

const STATUSES: &str = "\
Exit statuses:
  0    done
  1    check, explain, who, reload: the policy has findings, or did not come into force
  2    usage error: the command line is not valid, or names no slot
  3    permission denied by the broker's policy, or unknown name
  4    not found: the slot is empty
  5    quota exceeded, of this user or of the broker
  6    the broker cannot be reached, or is not trusted
  7    the broker failed, timed out, sent an invalid answer, or is too old for the request
  8    a local failure: a file, a descriptor, a socket
  126  exec: the program cannot be run
  127  exec: the program is not found
  128+ exec SLOT=postgres: the program was ended by this signal
  Otherwise exec ends with the exit status of the program.

Environment:
  FDBROKER_SOCKET  the broker's socket, as --socket
  FDBROKER_POLICY  a policy file to look names up in, as --policy";

/// Runs the command with the arguments of this process, and says how to exit.
pub fn main() -> ExitCode {
    let CommandLine { args, task } = CommandLine::parse();
    let outcome = match task {
        Task::Get(get) => get.run(&args),
        Task::Add(add) => add.run(&args),
        Task::Del(del) => del.run(&args),
        Task::Tag(tag) => tag.run(&args),
        Task::List(list) => list.run(&args),
        Task::Exec(exec) => return exec.run(&args).unwrap_or_else(Failure::report),
        Task::Reload(reload) => reload.run(&args),
        Task::Purge(purge) => purge.run(&args),
        Task::Status(status) => status.run(&args),
        Task::Sessions(sessions) => sessions.run(&args),
        Task::Quota(quota) => quota.run(&args),
        Task::Leases(leases) => leases.run(&args),
        Task::Revoke(revoke) => revoke.run(&args),
        Task::Check(check) => check.run(&args),
        Task::Explain(explain) => explain.run(&args),
        Task::Who(who) => who.run(&args),
    };
    outcome.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

/// The definition of the command line, for manual pages and completions.
pub fn definition() -> clap::Command {
    CommandLine::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_defined_without_contradictions() {
        super::definition().debug_assert();
    }
}
