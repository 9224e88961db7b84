//! Who asks the policy: somebody described on the command line, or a living process.

use clap::Args;
use fdbroker_host::{AccountError, Identity, Process, SystemNames, account, unit_of_cgroup};
use fdbroker_policy::{Account, Gid, Names, Peer, Uid};
use fdbroker_types::quoted;
use rustix::process::Pid;

use crate::failure::Failure;

/// The options that say who asks.
#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct SubjectArgs {
    /// Ask for this user, by name or number
    #[arg(long, group = "identity")]
    user: Option<String>,
    /// Ask for a member of this group, by name or number; can be given several times [default: the
    /// groups that the user has on this machine]
    #[arg(long, conflicts_with = "pid")]
    group: Vec<String>,
    /// Ask for a process of this unit [default: the unit that --cgroup belongs to]
    #[arg(long, conflicts_with = "pid")]
    unit: Option<String>,
    /// Ask for a process of this control group
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    cgroup: Option<String>,
    /// Ask for a process with this security label
    #[arg(long, conflicts_with = "pid")]
    label: Option<String>,
    /// Ask for this living process: its user, groups, unit, control group and label
    #[arg(long, group = "identity", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
}

/// Who asks.
pub(crate) struct Subject {
    pub(crate) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    pub(crate) unit: Option<String>,
    pub(crate) cgroup: Option<String>,
    pub(crate) label: Option<String>,
    /// Whether it is a living process that was looked at: then what is not there is not merely unknown.
    pub(crate) is_read: bool,
}

impl SubjectArgs {
    /// Whom the options mean.
    pub(crate) fn subject(&self) -> Result<Subject, Failure> {
        match (&self.user, self.pid.and_then(Pid::from_raw)) {
            (Some(user), _) => self.subject_named(user),
            (None, Some(pid)) => Subject::of_process(pid),
            (None, None) => Err(Failure::Usage("explain: --user or --pid is missing".to_owned())),
        }
    }

    fn subject_named(&self, user: &str) -> Result<Subject, Failure> {
        let identity = user_named("explain", user)?;
        let groups = if self.group.is_empty() {
            identity.groups().map_err(|error| no_account("explain", error))?
        } else {
            self.group.iter().map(|group| group_number(group)).collect::<Result<_, _>>()?
        };
        let unit = match self.cgroup.as_deref() {
            Some(cgroup) => self.unit_in(cgroup)?,
            None => self.unit.as_deref(),
        };
        Ok(Subject {
            uid: identity.uid,
            gid: Gid::NONE,
            groups,
            unit: unit.map(str::to_owned),
            cgroup: self.cgroup.clone(),
            label: self.label.clone(),
            is_read: false,
        })
    }

    /// The unit of that control group, as the broker reads it; another one is an error.
    fn unit_in<'c>(&self, cgroup: &'c str) -> Result<Option<&'c str>, Failure> {
        let its = unit_of_cgroup(cgroup);
        match &self.unit {
            Some(unit) if its != Some(unit) => {
                let its = its.map_or("no unit".to_owned(), |its| {
                    format!("the unit {its}", its = quoted(its))
                });
                Err(Failure::Usage(format!(
                    "explain: no process is both in the unit {unit} and in the control group {cgroup}: that is of {its}",
                    unit = quoted(unit),
                    cgroup = quoted(cgroup)
                )))
            }
            _ => Ok(its),
        }
    }
}

/// Returns the account of a user by name or number, for a subcommand.
pub(crate) fn user_named(subcommand: &str, user: &str) -> Result<Identity, Failure> {
    let number = user.parse().map(|number| Account::Number(Uid(number)));
    let found = account(&number.unwrap_or_else(|_| Account::Name(user.to_owned())));
    found.map_err(|error| no_account(subcommand, error))
}

fn no_account(subcommand: &str, error: AccountError) -> Failure {
    match error {
        AccountError::NotFound(name) => {
            Failure::Usage(format!("{subcommand}: there is no user {name}", name = quoted(&name)))
        }
        error => Failure::local(subcommand, error),
    }
}

fn group_number(group: &str) -> Result<Gid, Failure> {
    if let Ok(number) = group.parse() {
        return Ok(Gid(number));
    }
    let found =
        SystemNames::default().group(group).map_err(|error| Failure::local("explain", error))?;
    found.ok_or_else(|| {
        Failure::Usage(format!("explain: there is no group {group}", group = quoted(group)))
    })
}

impl Subject {
    fn of_process(pid: Pid) -> Result<Self, Failure> {
        let what = format!("explain: process {}", pid.as_raw_nonzero());
        let process = Process::of(pid).map_err(|error| Failure::local(what, error))?;
        let peer = process.peer();
        Ok(Self {
            uid: peer.uid,
            gid: peer.gid,
            groups: peer.groups.to_vec(),
            unit: peer.unit.map(str::to_owned),
            cgroup: process.cgroup.clone(),
            label: process.label.clone(),
            is_read: true,
        })
    }

    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer {
            uid: self.uid,
            gid: self.gid,
            groups: &self.groups,
            unit: self.unit.as_deref(),
            cgroup: self.cgroup.as_deref(),
            out_of_sight: false,
            vanished: false,
            label: self.label.as_deref(),
        }
    }

    /// Each group once, in order.
    pub(crate) fn all_groups(&self) -> Vec<Gid> {
        let primary = Some(self.gid).filter(|gid| *gid != Gid::NONE);
        let mut groups: Vec<_> = primary.into_iter().chain(self.groups.iter().copied()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}
