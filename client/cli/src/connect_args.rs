//! The options that all subcommands share: which broker, whom to trust, how slots are named.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use fdbroker::{Broker, Connector, Trust, default_socket, environment};
use rustix::process::geteuid;

use crate::failure::Failure;

/// How long an answer may take that waits for nobody.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

const POLICY_VARIABLE: &str = "FDBROKER_POLICY";

#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    /// The broker's socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else
    /// $XDG_RUNTIME_DIR/fdbroker.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Trust only a broker that runs as this user id, instead of root or you
    #[arg(long, global = true, value_name = "UID", conflicts_with = "trust_anyone")]
    trust_uid: Option<u32>,
    /// Trust a broker that runs as any user
    #[arg(long, global = true)]
    trust_anyone: bool,
    /// Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on
    /// a serial tag waits for its turn; 10s for status and leases]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Look names up in this policy file instead of asking the broker [default:
    /// $FDBROKER_POLICY; without either, the broker is asked]
    #[arg(long, global = true, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl ConnectArgs {
    /// Connects to the broker.
    pub(crate) fn connect(&self) -> Result<Broker, Failure> {
        Ok(self.connector().connect()?)
    }

    /// Connects to the broker, for questions that need no turn: without another limit, each answer may take so long.
    pub(crate) fn connect_for_answers(&self) -> Result<Broker, Failure> {
        let limit = self.timeout.unwrap_or(ANSWER_LIMIT);
        Ok(self.connector().timeout(Some(limit)).connect()?)
    }

    /// How to connect to the broker.
    pub(crate) fn connector(&self) -> Connector {
        self.connector_to(Trust::RootOrSelf)
    }

    /// The path of the broker's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(default_socket)
    }

    /// The time limit, if there is one.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// How to connect to a broker that this user runs, if nothing else is said.
    pub(crate) fn connector_to_own(&self) -> Connector {
        self.connector_to(Trust::Uid(geteuid().as_raw()))
    }

    fn connector_to(&self, otherwise: Trust) -> Connector {
        let trust = match (self.trust_uid, self.trust_anyone) {
            (Some(uid), _) => Trust::Uid(uid),
            (None, true) => Trust::Anyone,
            (None, false) => otherwise,
        };
        let mut connector = Connector::new().trust(trust).timeout(self.timeout);
        if let Some(path) = &self.socket {
            connector = connector.socket(path);
        }
        connector
    }

    /// The policy file that names are to be looked up in, if somebody named one.
    pub(crate) fn policy(&self) -> Option<PathBuf> {
        self.policy.clone().or_else(|| environment::path(POLICY_VARIABLE))
    }
}

/// Reads a time: a whole number with `ms`, `s` or `m` behind it; without any, seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| BAD_TIME.to_owned())?;
    match &text[digits.len()..] {
        _ if number == 0 => Err("leave the option out to wait without limit".to_owned()),
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" | "" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => Err(BAD_TIME.to_owned()),
    }
}

const BAD_TIME: &str = "give a whole number of ms, s or m, such as 500ms";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_no_fractions() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "0s", "1.5s", "-1s", "1h", "s", "10 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
