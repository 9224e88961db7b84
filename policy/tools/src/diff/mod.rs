//! What changes when one policy takes the place of another: who gains and who loses which right.

mod change;
mod comparison;
mod losers;
mod place;
mod says;

use fdbroker_policy::{Moment, Policy};

pub use self::change::{Change, Differences, Unless};
use self::comparison::Comparison;
use crate::budget::Budget;
use crate::glob_intersection::Budgets;

/// Returns who gains and who loses which right when `new` takes the place of `old`, at a moment.
///
/// Every peer for whom [`Policy::outcome`] says something else, and whose unit and control group can be read, is in the
/// `who` of a change and in none of its `unless`. The simplest peer of each `who`, of whom nothing else is true, does
/// gain or lose, unless the change is vague.
///
/// If that is too much work, the differences are cut: then there may be more changes, and those that are told are true
/// all the same. The opening of resources, and the settings, are not compared here.
#[must_use]
pub fn diff(old: &Policy, new: &Policy, at: Moment) -> Differences {
    diff_within(Budget::QUESTION, old, new, at)
}

fn diff_within(steps: u64, old: &Policy, new: &Policy, at: Moment) -> Differences {
    let comparison = Comparison::new([old, new], at, Budgets::of(steps));
    let changes = comparison.changes();
    Differences { changes, is_cut: comparison.budget().is_spent() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fdbroker_policy::{Slot, Target};

    use super::*;
    use crate::fixture::policy;
    use crate::scope::Scope;

    /// Rules for users and groups of this number and the next ones.
    fn rules(from: u32) -> Policy {
        let rule = |number: u32| {
            let says = if number.is_multiple_of(3) { "deny" } else { "allow" };
            let who = if number.is_multiple_of(2) { "user" } else { "group" };
            format!(
                "[[rules]]\n{says} = [\"get\", \"add\"]\nslots = [\"web/{}-{}\"]\n{who} = {}\n",
                number,
                number + 5,
                number + from
            )
        };
        policy(&(1..20).map(rule).collect::<String>())
    }

    #[test]
    fn what_a_cut_comparison_tells_is_true() {
        let (old, new) = (rules(0), rules(1));
        let all = diff(&old, &new, Moment::new(0, 0));
        assert!(!all.is_cut && !all.changes.is_empty());
        let is_told = |change: &Change| {
            let on = |scope: &Scope| match *scope {
                Scope::Slots { tag, first, last } => [first, last]
                    .map(|index| Target::Slot(Slot { tag, index }))
                    .iter()
                    .all(|slot| {
                        all.changes.iter().any(|it| {
                            it.who == change.who
                                && it.gains == change.gains
                                && it.unless == change.unless
                                && change.rights.iter().all(|right| it.rights.contains(right))
                                && it.on.iter().any(|scope| scope.contains(*slot))
                        })
                    }),
                _ => true,
            };
            change.on.iter().all(on)
        };
        let mut told = BTreeSet::new();
        for steps in (0..400_000).step_by(2_000) {
            let cut = diff_within(steps, &old, &new, Moment::new(0, 0));
            assert!(cut.is_cut || cut == all, "{steps}");
            assert!(cut.changes.iter().all(is_told), "{steps}: {:?}", cut.changes);
            told.insert(cut.changes.len());
        }
        assert!(told.len() > 2, "some, but not all: {told:?}");
    }

    #[test]
    fn a_comparison_without_a_step_tells_nothing_and_says_so() {
        let cut = diff_within(0, &rules(0), &rules(1), Moment::new(0, 0));
        assert_eq!(cut, Differences { changes: Vec::new(), is_cut: true });
    }

    #[test]
    fn policies_full_of_stars_are_compared_in_part() {
        let rules = |from: u32| {
            let rule = |at: u32| {
                let says = if at.is_multiple_of(2) { "allow" } else { "deny" };
                let label = format!("{}{}", "*a".repeat(490), from + at * 2);
                format!("[[rules]]\n{says} = [\"get\"]\nslots = [\"web/*\"]\nlabel = \"{label}\"\n")
            };
            policy(&(0..20).map(rule).collect::<String>())
        };
        let cut = diff_within(20_000_000, &rules(0), &rules(1), Moment::new(0, 0));
        assert!(cut.is_cut);
    }
}
