//! The policy loader: any text either loads or is refused with findings that can be shown; what
//! loads can be asked everything, and all its answers agree.
#![no_main]

use fdbroker_fuzz::{Input, policy_text};
use fdbroker_policy::{
    Gid, Index, LookupError, Moment, Names, Peer, Policy, Right, Slot, SourceText, Tag, Target,
    Uid, load,
};
use fdbroker_policy_tools::{diff, explain};
use libfuzzer_sys::fuzz_target;

/// A machine with a few accounts, whose name service fails for one name.
struct Machine;

impl Names for Machine {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        match name {
            "vpn" => Ok(Some(Uid(501))),
            "fdbroker" => Ok(Some(Uid(990))),
            "remote" => Err(LookupError("the directory does not answer".to_owned())),
            _ => Ok(None),
        }
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        self.user(name).map(|id| id.map(|Uid(id)| Gid(id)))
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (who, at) = (input.byte(), input.byte());
    let Some(text) = text(&mut input) else { return };
    // Two files, where a mark tells them apart.
    let sources: Vec<_> =
        text.split('\u{c}').take(3).map(|text| SourceText::new("p", text)).collect();
    match load(&sources, &Machine) {
        Ok(policy) => ask(&policy, who, Moment::new(i64::from(at), 0)),
        Err(findings) => {
            let report = findings.to_string();
            assert!(!report.is_empty());
            assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{report:?}");
        }
    }
});

/// One that looks like a policy, or any.
fn text(input: &mut Input<'_>) -> Option<String> {
    if input.byte() < 0x80 {
        return Some(policy_text(input));
    }
    std::str::from_utf8(input.rest()).ok().map(str::to_owned)
}

fn ask(policy: &Policy, who: u8, at: Moment) {
    let groups = [Gid(u32::from(who >> 4)), Gid(501)];
    let known = who & 1 != 0;
    let peer = Peer {
        unit: known.then_some("app@1.service"),
        cgroup: known.then_some("/a/b"),
        label: (who & 2 != 0).then_some("label"),
        out_of_sight: who & 4 != 0,
        ..Peer::new(Uid(501), Gid(u32::from(who)), &groups)
    };
    for target in targets(policy) {
        for right in Right::ALL {
            let outcome = policy.outcome(&peer, right, target, at);
            assert_eq!(explain(policy, &peer, right, target, at).verdict, outcome);
        }
        if let Target::Slot(slot) = target {
            alike(policy, &peer, slot, at);
        }
    }
    assert!(diff(policy, policy, at).changes.is_empty(), "it differs from itself");
}

/// A few targets of each of the first tags.
fn targets(policy: &Policy) -> Vec<Target> {
    let tags = policy.tags().take(3).map(|tag| tag.id).chain(Tag::new(7));
    let indices = || [0, 1, 5, Index::MAX.get()].into_iter().filter_map(Index::new);
    let slots = |tag| indices().map(move |index| Target::Slot(Slot { tag, index }));
    let of_tags = tags.flat_map(|tag| slots(tag).chain([Target::Tag(tag)]));
    of_tags.chain([Target::Broker]).collect()
}

/// Slots that are said to be alike must be.
fn alike(policy: &Policy, peer: &Peer<'_>, slot: Slot, at: Moment) {
    let last = Slot { index: policy.alike_until(slot), ..slot };
    assert!(last >= slot);
    for right in Right::ALL {
        let of = |slot| policy.outcome(peer, right, Target::Slot(slot), at);
        assert_eq!(of(last), of(slot), "{right} of {slot:?} and {last:?}");
    }
}
