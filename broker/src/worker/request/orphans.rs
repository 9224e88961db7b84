//! Deposits that no rule reaches any more: a reload never closes them, since a typo must not
//! break a thousand connections. They are named, and go only when an operator purges them.

use std::fmt::Write;

use fdbroker_wire::Slot;

use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;

/// How many slots are looked at before others have their turn on the event loop.
const AT_ONCE: usize = 128;
/// How many ranges of slots one line of the log names.
const A_LINE: usize = 100;

/// Whether no rule reaches a deposit in this slot: none reaches the slot, or a resource lies over
/// the deposit.
pub(crate) fn is_unreachable(rules: &Rules, slot: Slot) -> bool {
    rules.policy.resource_at(slot).is_some() || !rules.policy.reaches(slot, rules.now())
}

/// The slots of all deposits that no rule reaches, in order.
pub(crate) async fn all(worker: &Worker) -> Vec<Slot> {
    let rules = worker.policy.now();
    let (mut found, mut last) = (Vec::new(), None);
    loop {
        let some: Vec<Slot> = worker.slots.borrow().after(None, last).take(AT_ONCE).collect();
        let Some(end) = some.last() else { return found };
        last = Some(*end);
        found.extend(some.into_iter().filter(|slot| is_unreachable(&rules, *slot)));
        tokio::task::yield_now().await;
    }
}

/// Names them in the log.
pub(crate) async fn tell(worker: &Worker) {
    let found = all(worker).await;
    if found.is_empty() {
        return;
    }
    let count = found.len();
    worker.log().warn(&format!(
        "deposits that no rule reaches any more: {count}; each stays until `fdbroker purge`, or \
         until a rule reaches it again"
    ));
    for ranges in ranges(&found).chunks(A_LINE) {
        worker.log().warn(&format!("out of reach: {}", ranges.join(", ")));
    }
}

/// Slots in order, neighbours together: `1/0-99`, `1/200`.
fn ranges(slots: &[Slot]) -> Vec<String> {
    let follows =
        |one: &Slot, next: &Slot| one.tag == next.tag && one.index.next() == Some(next.index);
    slots.chunk_by(follows).filter_map(|run| range(run.first()?, run.last()?)).collect()
}

fn range(first: &Slot, last: &Slot) -> Option<String> {
    let mut text = first.to_string();
    if last != first {
        write!(text, "-{}", last.index).ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use fdbroker_wire::Slot;

    #[test]
    fn neighbours_are_named_together() {
        let slots = [(1, 0), (1, 1), (1, 2), (1, 5), (2, 6), (2, i32::MAX)];
        let slots = slots.map(|(tag, index)| Slot::new(tag, index).unwrap());
        assert_eq!(super::ranges(&slots), ["1/0-2", "1/5", "2/6", "2/2147483647"]);
        assert!(super::ranges(&[]).is_empty());
    }
}
