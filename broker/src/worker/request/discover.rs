//! What of the broker a peer may see: HEL, a slot by its name, and what there is.

use fdbroker_policy::{Policy, Right, Source};
use fdbroker_wire::version2::{Entry, Features, Found, Listing, Name, Route};
use fdbroker_wire::{Hello, Slot, Tag};

use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::{Decision, Requester};
use super::here_only;
use super::orphans::is_unreachable;
use super::place::Place;
use crate::fd::{PeerFd, kind};
use crate::worker::limits::loop_time::Turn;
use crate::worker::peer::session::{Greeted, Session};
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;

/// How many slots are looked up at once.
const AT_ONCE: usize = 256;

/// Answers HEL: from here on this connection speaks version 2.
pub(crate) fn greet(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    hello: Hello,
) -> Answer {
    let rules = worker.policy.now();
    // Counting looks at every rule: not again for each HEL of a peer that says it all the time.
    let known = session.greeted.filter(|greeted| greeted.generation == rules.generation);
    let tags = known.map_or_else(
        || {
            let tags = rules.policy.tags_for(&requester.connection().peer(), rules.now());
            i16::try_from(tags).unwrap_or(i16::MAX)
        },
        |greeted| greeted.tags,
    );
    let features = Features::from_flags(hello.flags).and(Features::ALL);
    session.greeted = Some(Greeted { features, generation: rules.generation, tags });
    Answer::Hello(Hello { tags, flags: features.flags(), key: worker.instance })
}

/// Answers FIND: returns the slot or tag that has the name.
///
/// A peer with any right to it gets the answer, and so does an operator, who purges slots that no
/// rule reaches. For other peers the answer is the same as for an unknown name.
pub(crate) fn find(worker: &Worker, requester: &Requester, name: &Name) -> Answer {
    let rules = worker.policy.now();
    let (found, place) = match meaning(&rules.policy, name.as_str()) {
        Some(found @ (Found::Slot(slot) | Found::Resource(slot))) => {
            (Some(found), Place::slot(&rules.policy, slot))
        }
        Some(found @ Found::Tag(tag)) => (Some(found), Place::tag(&rules.policy, tag)),
        None => (None, Place::unknown(name.as_str())),
    };
    let mut context =
        with_any_right(RequestContext::new(worker, &rules, requester, Right::List, place));
    // Looked at for unknown names too: how long it takes tells nothing.
    let operates = requester.decide(&rules, Right::Operate, Place::broker().target);
    if operates.granted && found.is_some() && !context.decision.granted {
        context = context.decided(Right::Operate, operates);
    }
    context.count(1);
    let outcome = match found.filter(|_| context.decision.granted) {
        Some(found) => Outcome::Told(Answer::Found(found), "found by its name".to_owned()),
        None => Outcome::Failed(context.refused()),
    };
    context.finish(outcome)
}

/// The case as it is about a right that is granted, if any is: each of them lets its holder know
/// the name.
fn with_any_right(context: RequestContext<'_>) -> RequestContext<'_> {
    if context.decision.granted {
        return context;
    }
    let mut others = Right::ALL.into_iter().filter(|right| !right.is_of_broker());
    match others.find(|right| context.decide_also(*right).granted) {
        Some(right) => context.with_right(right),
        None => context,
    }
}

fn meaning(policy: &Policy, name: &str) -> Option<Found> {
    let slot = policy.resolve(name).map(|slot| match policy.resource_at(slot) {
        Some(_) => Found::Resource(slot),
        None => Found::Slot(slot),
    });
    slot.or_else(|| policy.resolve_tag(name).map(Found::Tag))
}

/// Answers LIST: the slots that hold something and that this peer may list; all of them, if it may inspect; for
/// operators also those that no rule reaches. Nothing at all is an answer too, and no rule grants that one.
pub(crate) async fn list(
    worker: &Worker,
    requester: &Requester,
    turn: &Turn,
    tag: Option<Tag>,
    after: Option<Slot>,
) -> Answer {
    let rules = worker.policy.now();
    let place = tag.map_or_else(Place::nowhere, |tag| Place::tag(&rules.policy, tag));
    let context = RequestContext::new(worker, &rules, requester, Right::List, place);
    let of_broker = |right| requester.decide(&rules, right, Place::broker().target);
    let (inspects, operates) = (of_broker(Right::Inspect), of_broker(Right::Operate));
    let sight = Sight { inspects: inspects.granted, operates: operates.granted };
    let (mut listing, mut last, mut shown) = (Listing::new(), after, None);
    'full: loop {
        let some = some_slots(worker, &rules, (tag, last));
        let Some(end) = some.last() else { break };
        last = Some(*end);
        for slot in some {
            turn.take().await;
            let Some((entry, listed)) = entry(&context, sight, slot) else { continue };
            if !listing.push(entry) {
                break 'full;
            }
            shown = shown.or(listed);
        }
    }
    let slots: Vec<Slot> = listing.entries().iter().map(|entry| entry.slot).collect();
    let here_only = here_only::among(worker, &slots).await;
    listing.mark_here_only(|slot| here_only.contains(&slot));
    let context =
        by_what_was_shown(context, shown, [(Right::Inspect, inspects), (Right::Operate, operates)]);
    context.count(1);
    let told = match context.decision.granted {
        true => format!("slots listed: {}", listing.entries().len()),
        false => format!("there is nothing that it may list: {}", context.decision.reason),
    };
    context.finish(Outcome::Told(Answer::Listing(listing), told))
}

/// The case as the rule decided it by which something was `shown`, where none grants to list the whole; an
/// peer with a right to the broker itself may ask in any case.
fn by_what_was_shown<'p>(
    context: RequestContext<'p>,
    shown: Option<Decision<'p>>,
    of_broker: [(Right, Decision<'p>); 2],
) -> RequestContext<'p> {
    if context.decision.granted {
        return context;
    }
    let shown = shown.map(|shown| (Right::List, shown));
    match shown.into_iter().chain(of_broker).find(|(_, decision)| decision.granted) {
        Some((right, decision)) => context.decided(right, decision),
        None => context,
    }
}

/// What a peer is told of others' slots.
#[derive(Clone, Copy)]
struct Sight {
    /// Everything.
    inspects: bool,
    /// What no rule reaches, and who left what.
    operates: bool,
}

/// The next slots that hold something, of a tag or of all, behind one, in order: deposits and resources.
pub(crate) fn some_slots(
    worker: &Worker,
    rules: &Rules,
    (tag, after): (Option<Tag>, Option<Slot>),
) -> Vec<Slot> {
    let resources = rules.policy.resource_slots(tag, after);
    let mut slots: Vec<Slot> = resources.iter().copied().take(AT_ONCE).collect();
    slots.extend(worker.slots.borrow().after(tag, after).take(AT_ONCE));
    slots.sort_unstable();
    slots.dedup();
    slots.truncate(AT_ONCE);
    slots
}

/// What the peer is told of a slot, if anything, and by which rule if not as an operator, who is told more.
fn entry<'p>(
    context: &RequestContext<'p>,
    sight: Sight,
    slot: Slot,
) -> Option<(Entry, Option<Decision<'p>>)> {
    let rules = context.rules;
    let place = Place::slot(&rules.policy, slot);
    let held = context.worker.slots.borrow().get(slot).is_some();
    let is_told = sight.inspects || sight.operates;
    let unreachable = is_told && held && is_unreachable(rules, slot);
    let listed = context.requester.decide(rules, Right::List, place.target);
    if !listed.granted && !unreachable && !sight.inspects {
        return None;
    }
    let deposits = context.worker.slots.borrow();
    let deposit = deposits.get(slot);
    let kind = match place.resource {
        Some((_, resource)) => resource.source.descriptor_kind(),
        None => Some(kind::of(deposit?.descriptor.as_ref().and_then(PeerFd::descriptor))),
    };
    let told = deposit.filter(|_| is_told);
    let entry = Entry {
        slot,
        kind,
        resource: place.resource.is_some(),
        unreachable,
        here_only: false,
        route: place.resource.and_then(|(_, resource)| route(&resource.source)),
        owner: told.map(|deposit| deposit.owner().0),
        payload: told.and_then(|deposit| u32::try_from(deposit.payload.len()).ok()),
        name: place.name().to_string(),
    };
    Some((entry, listed.granted.then_some(listed)))
}

/// How the connections of a resource lead to their server.
pub(crate) fn route(source: &Source) -> Option<Route> {
    let Source::Connect(connect) = source else { return None };
    Some(match &connect.tls {
        None => Route::Direct,
        Some(tls) if tls.kernel => Route::KtlsOrRelayed,
        Some(_) => Route::Relayed,
    })
}
