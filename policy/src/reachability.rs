//! Whether a slot is within reach of any peer at all. A deposit out of reach is left over: the
//! rules that allowed it have gone.

use crate::pattern::Pattern;
use crate::rights::Rights;
use crate::rule::Who;
use crate::{Moment, Peer, Policy, Right, Slot};

impl Policy {
    /// Whether a peer may get, add, delete or replace a deposit in a slot, at a moment or after it:
    /// some rule that has not ended allows it, and none denies it to everybody at all times.
    ///
    /// A slot of a tag that is not declared is out of reach. The cost grows with the rules that
    /// cover the slot.
    #[must_use]
    pub fn reaches(&self, slot: Slot, at: Moment) -> bool {
        let (mut allowed, mut denied) = (Rights::NONE, Rights::NONE);
        for rule in self.covering(slot) {
            if rule.valid.until.is_none_or(|until| at < until) {
                allowed = allowed.and(rule.allow);
            }
            if rule.who == Who::default() && !rule.valid.is_limited() {
                denied = denied.and(rule.deny);
            }
        }
        let open = |right: &Right| allowed.contains(*right) && !denied.contains(*right);
        let rights = Right::ALL.iter().filter(|it| **it == Right::Get || it.is_to_change());
        self.tag(slot.tag).is_some() && rights.into_iter().any(open)
    }

    /// In how many tags some rule allows a peer something, at a moment. What is denied to it is not taken off. The cost
    /// grows with the number of rules.
    #[must_use]
    pub fn tags_for(&self, peer: &Peer<'_>, at: Moment) -> usize {
        let peer = &peer.within_sight();
        let of_slots = |right: &Right| !right.is_of_broker();
        let rules = self.rules().iter().filter(|rule| {
            Right::ALL
                .iter()
                .filter(|right| of_slots(right))
                .any(|right| rule.allow.contains(*right))
        });
        let mut tags = std::collections::BTreeSet::new();
        for rule in rules.filter(|rule| rule.valid.holds_at(at) && rule.who.includes(peer)) {
            for pattern in &rule.slots {
                match pattern {
                    Pattern::Everything => return self.tags().count(),
                    Pattern::Range { tag, .. } => tags.insert(*tag),
                };
            }
        }
        tags.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::policy;
    use crate::{Gid, LONGEST_CGROUP, Uid};

    /// 2001-09-09T01:46:40Z.
    const AT: Moment = Moment::new(1_000_000_000, 0);

    /// Whether a policy of these rules about the slot reaches it.
    fn reaches(rules: &[&str]) -> bool {
        let rule = |rule: &&str| format!("[[rules]]\nslots = [\"web/*\"]\n{rule}\n");
        let rules: String = rules.iter().map(rule).collect();
        let policy = policy(&rules);
        let slot = policy.resolve("web/3").expect("a slot");
        policy.reaches(slot, AT)
    }

    #[test]
    fn a_slot_is_reached_where_somebody_may_take_or_change_what_is_in_it() {
        for right in ["get", "add", "del", "replace", "*"] {
            assert!(reaches(&[&format!("allow = [\"{right}\"]\nuser = 7")]), "{right}");
        }
        for right in ["list", "tag"] {
            assert!(!reaches(&[&format!("allow = [\"{right}\"]\nuser = 7")]), "{right}");
        }
    }

    #[test]
    fn a_rule_that_has_ended_reaches_nothing_and_one_that_is_to_come_does() {
        let rule = "allow = [\"get\"]\nuser = 7";
        assert!(!reaches(&[&format!("{rule}\nvalid_until = 2000-01-01T00:00:00Z")]));
        assert!(reaches(&[&format!("{rule}\nvalid_from = 2030-01-01T00:00:00Z")]));
    }

    #[test]
    fn what_is_denied_to_everybody_for_ever_reaches_nothing() {
        let rule = "allow = [\"get\", \"list\"]\nuser = 7";
        assert!(!reaches(&[rule, "deny = [\"get\"]\nanyone = true"]));
        assert!(reaches(&[rule, "deny = [\"add\"]\nanyone = true"]));
        assert!(reaches(&[rule, "deny = [\"get\"]\nuser = 7"]));
        assert!(reaches(&[
            rule,
            "deny = [\"get\"]\nanyone = true\nvalid_until = 2030-01-01T00:00:00Z"
        ]));
    }

    #[test]
    fn a_rule_about_every_slot_reaches_declared_tags_and_no_others() {
        let policy = policy("[[rules]]\nallow = [\"get\"]\nslots = [\"*\"]\nuser = 7\n");
        let reaches = |slot| policy.reaches(policy.resolve(slot).expect("a slot"), AT);
        assert!(reaches("web/3") && !reaches("11/3"));
    }

    #[test]
    fn at_the_very_end_of_a_rule_it_reaches_nothing() {
        let rule = "allow = [\"get\"]\nuser = 7";
        assert!(!reaches(&[&format!("{rule}\nvalid_until = 2001-09-09T01:46:40Z")]));
        assert!(reaches(&[&format!("{rule}\nvalid_until = 2001-09-09T01:46:41Z")]));
    }

    #[test]
    fn a_peer_has_tags_where_a_rule_allows_it_something_about_their_slots() {
        let tags = |rule: &str| {
            let text = format!("[tags.more]\nid = 11\n[[rules]]\n{rule}\n");
            let peer = Peer { cgroup: Some("/a/b"), ..Peer::new(Uid(7), Gid(70), &[]) };
            let long = format!("/a/{}", "b".repeat(LONGEST_CGROUP));
            let strange = Peer { cgroup: Some(&long), ..peer };
            let policy = policy(&text);
            [peer, strange].map(|peer| policy.tags_for(&peer, AT))
        };
        assert_eq!(tags("allow = [\"get\"]\nslots = [\"*\"]\nuser = 7"), [2, 2]);
        assert_eq!(tags("allow = [\"tag\"]\nslots = [\"web/*\", \"web/3\"]\nuser = 7"), [1, 1]);
        assert_eq!(tags("allow = [\"get\"]\nslots = [\"*\"]\nuser = 8"), [0, 0]);
        let other = "allow = [\"operate\"]\ndeny = [\"get\"]\nslots = [\"web/*\"]\nuser = 7";
        assert_eq!(tags(other), [0, 0]);
        let hidden = "allow = [\"get\"]\nslots = [\"web/*\"]\ncgroup = \"/a/**\"";
        assert_eq!(tags(hidden), [1, 0]);
    }
}
