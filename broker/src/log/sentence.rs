//! A record as a sentence, for people.

use super::record::{Kind, Record, Subject};

impl Record<'_> {
    /// The record as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { kind, verdict, right, subject, uid, pid, reason, count, .. } = self;
        let (verdict, times) = (verdict.name(), times(*count));
        let slots = subject.slots().map_or(String::new(), |slots| format!(" ({slots} slots)"));
        let who = format!("uid {uid} pid {pid}");
        let lease = self.handed_out.lease.unwrap_or_default();
        let what = match (kind, subject) {
            (Kind::Decision, Subject::Nothing) => format!("{verdict} {right} to {who}"),
            (Kind::Decision, subject) if lease != 0 => {
                format!("{verdict} {right} {subject} to {who} as lease {lease}")
            }
            (Kind::Decision, subject) => format!("{verdict} {right} {subject}{slots} to {who}"),
            (Kind::Open, subject) => format!("opening {subject} for {who}"),
            (Kind::Reload, _) => format!("reloading the policy: {verdict}"),
            (Kind::CutOff, _) => format!("cut off {who}"),
            (Kind::TakeOver, subject) => format!("taking over {subject} by {who}"),
            (Kind::LeaseEnd, subject) => format!("end of lease {lease} of {subject} of {who}"),
            (Kind::HandOver, _) => format!("replacing the broker by {who}: {verdict}"),
            (Kind::Connection, _) => format!("refused the connection of {who}"),
        };
        format!("{what}: {reason}{times}")
    }
}

/// How often, where that is more than once.
fn times(count: u32) -> String {
    if count > 1 { format!(" ({count} times)") } else { String::new() }
}
