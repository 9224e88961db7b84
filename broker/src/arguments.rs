//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;

use crate::log::Format;

/// Where the policy is looked for when no `--policy` names another.
pub(crate) const DEFAULT_POLICY: &str = "/etc/fdbroker/policy.toml";

/// Opens devices and files that ordinary programs may not open, keeps descriptors in slots, and
/// hands them to the programs that its policy names.
#[derive(Parser, Clone, Debug)]
#[command(name = "fdbrokerd", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The policy file [default: /etc/fdbroker/policy.toml]. If the default file does not exist,
    /// the built-in policy applies: the user that starts the broker may do everything with tags
    /// 0 to 31, and nobody else may do anything.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// The socket to listen on [default: /run/fdbroker/fdbroker.sock as root, else
    /// $XDG_RUNTIME_DIR/fdbroker.sock]. Ignored when a listening socket is passed in
    /// (LISTEN_FDS).
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// The format of the log [default: journald if standard error is connected to the journal,
    /// else text].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<Format>,

    /// Also append each record of the audit trail to this file, one JSON object a line. Created
    /// if missing; reopened on SIGHUP. With audit = "required" in the policy, requests that
    /// cannot be recorded are refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_file: Option<PathBuf>,

    /// The directory for the last policy that was in force. If the policy does not load at start, the broker starts
    /// under that one. `none` keeps none [default: $STATE_DIRECTORY; without it, /var/lib/fdbroker for root and the
    /// default policy file, else none].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state_directory: Option<PathBuf>,

    /// The file that says which user ids belong to which user [default: /etc/subuid]. Limits count
    /// such an id as the user that it belongs to. Read again with the policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) subuid: Option<PathBuf>,

    /// Take over from the broker that listens on the same socket: its deposits, the socket, and who owns which tag. It goes
    /// on until this one serves, and then ends. If this one does not start, it goes on as before. If no broker
    /// runs there, this one starts as without the option.
    #[arg(long)]
    pub(crate) replace: bool,

    /// Write a newline to this descriptor, and close it, when the broker is ready. If the broker does not
    /// start, write the reason, without a newline.
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<i32>,

    /// This process is the worker; the supervisor is at the other end of standard input.
    #[arg(long, hide = true)]
    pub(crate) worker: bool,

    /// This process is a closer; its worker is at the other end of standard input.
    #[arg(long, hide = true, conflicts_with = "worker")]
    pub(crate) closer: bool,

    /// This process is a helper, which makes one connection; the supervisor is at the other end of
    /// standard input.
    #[arg(long, hide = true, conflicts_with_all = ["worker", "closer"])]
    pub(crate) helper: bool,

    /// This process becomes a program of the operator's, which logs in to a server; the supervisor is at
    /// the other end of standard input.
    #[arg(long, hide = true, conflicts_with_all = ["worker", "closer", "helper"])]
    pub(crate) program: bool,

    /// This process looks names up; the supervisor is at the other end of standard input.
    #[arg(long, hide = true, conflicts_with_all = ["worker", "closer", "helper", "program"])]
    pub(crate) lookup: bool,
}

/// Which of the broker's processes this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Supervisor,
    Worker,
    Closer,
    Helper,
    Program,
    Lookup,
}

impl Arguments {
    pub(crate) fn role(&self) -> Role {
        let roles = [
            (self.worker, Role::Worker),
            (self.closer, Role::Closer),
            (self.helper, Role::Helper),
            (self.program, Role::Program),
            (self.lookup, Role::Lookup),
        ];
        let chosen = roles.into_iter().find(|(is_chosen, _)| *is_chosen);
        chosen.map_or(Role::Supervisor, |(_, role)| role)
    }
}

const EXAMPLES: &str = "\
Examples:
  fdbrokerd                                  serve /etc/fdbroker/policy.toml
  fdbrokerd --policy p.toml --socket ./s     try a policy out
  fdbrokerd --audit-file /var/log/fdbroker/audit.log   keep the audit trail in a file
  kill -HUP PID                              read the policy again, and reopen the audit file

Exit status: 0 after SIGTERM, SIGINT or SIGQUIT; 1 if the broker cannot start or continue;
2 if the command line is not valid; 78 if the policy is not valid.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
