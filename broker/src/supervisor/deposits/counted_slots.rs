//! Slots in a line of the log: how many, and which.

use std::fmt;

use fdbroker_wire::Slot;

/// How many are named at most.
const NAMED: usize = 50;

pub(crate) struct CountedSlots<'a>(pub(crate) &'a [Slot]);

impl fmt::Display for CountedSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(slots) = self;
        let named: Vec<_> = slots.iter().take(NAMED).map(Slot::to_string).collect();
        let named = if slots.is_empty() { "none".to_owned() } else { named.join(" ") };
        let more = if slots.len() > NAMED { " …" } else { "" };
        write!(f, "{} ({named}{more})", slots.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_named_and_all_are_counted() {
        let slots: Vec<_> = (0..51).filter_map(|index| Slot::new(1, index)).collect();
        let said = CountedSlots(&slots).to_string();
        assert!(said.starts_with("51 (1/0 1/1 ") && said.ends_with(" 1/49 …)"), "{said}");
        assert_eq!(CountedSlots(&slots[..2]).to_string(), "2 (1/0 1/1)");
        assert_eq!(CountedSlots(&[]).to_string(), "0 (none)");
    }
}
