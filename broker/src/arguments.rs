//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;

use crate::log::Format;

/// Where the policy is looked for when no `--policy` names another.
pub(crate) const DEFAULT_POLICY: &str = "/etc/fdbroker/policy.toml";

/// Opens what ordinary programs may not, keeps descriptors in tagged slots, and hands them to
/// those whom the policy allows.
#[derive(Parser, Clone, Debug)]
#[command(name = "fdbrokerd", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The policy file. Where the default (/etc/fdbroker/policy.toml) does not exist, the
    /// built-in policy holds: whoever starts the broker may do everything to the slots of tags
    /// 0 to 31, nobody else anything.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// The socket to listen on [default: /run/fdbroker/fdbroker.sock as root, else
    /// $XDG_RUNTIME_DIR/fdbroker.sock]. Not looked at when a listening socket is passed in
    /// (LISTEN_FDS).
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// How the log is written; standard error, but for journald [default: journald when
    /// standard error is connected to the journal, else text].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<Format>,

    /// Also append each record of the audit trail to this file, a JSON object a line. It is made
    /// when it is not there, and opened anew on SIGHUP. What is to be recorded and cannot be
    /// is refused where the policy says audit = "required".
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_file: Option<PathBuf>,

    /// Write a newline to this descriptor, and close it, once peers are being served; if the broker does
    /// not start, write the reason, without a newline
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<i32>,

    /// This process is the worker; the supervisor is at the other end of standard input.
    #[arg(long, hide = true)]
    pub(crate) worker: bool,

    /// This process is a closer; its worker is at the other end of standard input.
    #[arg(long, hide = true, conflicts_with = "worker")]
    pub(crate) closer: bool,
}

/// Which of the broker's processes this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Supervisor,
    Worker,
    Closer,
}

impl Arguments {
    pub(crate) fn role(&self) -> Role {
        match (self.worker, self.closer) {
            (true, _) => Role::Worker,
            (_, true) => Role::Closer,
            _ => Role::Supervisor,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  fdbrokerd                                  serve /etc/fdbroker/policy.toml
  fdbrokerd --policy p.toml --socket ./s     try a policy out
  fdbrokerd --audit-file /var/log/fdbroker/audit.log   keep the audit trail in a file
  kill -HUP PID                              read the policy again, and open the audit file anew

Exit status: 0 after SIGTERM or SIGINT; 1 when the broker cannot start or go on;
2 for a command line, and 78 for a policy, that is not valid.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
