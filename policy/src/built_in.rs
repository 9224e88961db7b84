//! The policy that holds where there is no policy file.

use crate::pattern::Pattern;
use crate::policy::Parts;
use crate::rights::Rights;
use crate::rule::{Rule, Who};
use crate::{Accept, Durability, Policy, Rates, Tag, TagSettings, Uid, Validity};

/// The id of the only rule of the built-in policy.
pub const BUILT_IN_RULE: &str = "built-in: the user that started the broker";

/// How many tags the built-in policy has, from 0.
const TAGS: i16 = 32;

/// The built-in policy: tags 0 to 31, each serial, accepting every kind, where the owner has every
/// right, also to the broker itself.
///
/// Nobody else has any. A tag's name is its number. Where the owner is the kernel's overflow user (65534), not even the
/// owner has a right: strangers from other user namespaces would look like the owner.
#[must_use]
pub fn built_in(owner: Uid) -> Policy {
    let rules = if owner == Uid::OVERFLOW { Vec::new() } else { vec![rule(owner)] };
    let tags = (0..TAGS).filter_map(Tag::new).map(tag).collect();
    Parts { tags, rules, ..Parts::default() }.assemble()
}

fn rule(owner: Uid) -> Rule {
    Rule {
        id: BUILT_IN_RULE.to_owned(),
        allow: Rights::of_slots().and(Rights::of_broker()),
        deny: Rights::NONE,
        slots: Box::new([Pattern::Everything]),
        who: Who { users: Some(Box::new([owner])), ..Who::default() },
        valid: Validity::default(),
        rates: Rates::default(),
    }
}

fn tag(id: Tag) -> TagSettings {
    TagSettings {
        name: id.to_string(),
        id,
        serial: true,
        durability: Durability::Relaxed,
        accept: Accept::ANY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gid, Index, Moment, Peer, Right, Slot, Target, Verdict};

    const OWNER: Uid = Uid(1000);
    const NOW: Moment = Moment::new(0, 0);

    fn peer(uid: Uid) -> Peer<'static> {
        Peer::new(uid, Gid(0), &[Gid(0)])
    }

    fn slot(tag: i16) -> Slot {
        Slot { tag: Tag::new(tag).unwrap(), index: Index::new(9).unwrap() }
    }

    fn target(right: Right, tag: i16) -> Target {
        match right {
            Right::Tag | Right::Claim => Target::Tag(slot(tag).tag),
            Right::Inspect | Right::Operate => Target::Broker,
            _ => Target::Slot(slot(tag)),
        }
    }

    #[test]
    fn the_owner_has_every_right_to_tags_0_to_31_and_none_to_others() {
        let policy = built_in(OWNER);
        for right in Right::ALL {
            for tag in 0..40 {
                let target = target(right, tag);
                let expected = tag < 32 || target == Target::Broker;
                let verdict = policy.outcome(&peer(OWNER), right, target, NOW);
                assert_eq!(verdict.is_granted(), expected, "{right} {tag}");
            }
        }
    }

    #[test]
    fn nobody_else_has_a_right_not_even_root() {
        let policy = built_in(OWNER);
        for right in Right::ALL {
            let verdict = policy.outcome(&peer(Uid::ROOT), right, target(right, 0), NOW);
            assert_eq!(verdict, Verdict::Refused { rule: None }, "{right}");
        }
    }

    #[test]
    fn the_overflow_user_has_no_right_even_as_owner() {
        let policy = built_in(Uid::OVERFLOW);
        assert!(
            !policy
                .outcome(&peer(Uid::OVERFLOW), Right::Get, Target::Slot(slot(0)), NOW)
                .is_granted()
        );
    }

    #[test]
    fn every_tag_is_serial_accepts_everything_and_resolves_by_number() {
        let policy = built_in(OWNER);
        assert_eq!(policy.tags().count(), 32);
        assert!(policy.tags().all(|tag| tag.serial && tag.accept == Accept::ANY));
        assert_eq!(policy.resolve("31/9"), Some(slot(31)));
    }
}
