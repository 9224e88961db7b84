//! What changes when one policy takes the place of another: who gains and who loses which right.
//!
//! A peer loses a right if a rule allowed it and none denied it, and now a rule denies it or none allows it any more. So
//! each loss shows in a peer that meets the conditions of one rule that allowed, or those of that rule and of one that now
//! denies, and of whom nothing else is true: the others that meet more conditions are meant too. Of them are spared, in
//! both cases, those who were denied it before; where nothing denies it now, also those who are allowed it now, and for
//! these a line of its own says whom a rule denies it all the same. Gains are the losses the other way round. Slots that
//! the same rules cover are looked at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fdbroker_policy::rules::{Glob, Pattern, Rights, Rule, Who};
use fdbroker_policy::{Gid, Index, Moment, Peer, Policy, Right, Slot, Tag, Target};

use crate::budget::Budget;
use crate::example::{Classes, Example, STEPS};
use crate::glob_intersection::{Budgets, cost_of_variants, slashes};
use crate::scope::{Scope, joined};
use crate::subjects::Subjects;

/// Of how many losses those that another one tells of are left out.
const MANY_LOSSES: usize = 200;

/// The steps that each of those costs who are spared: they are told, and take memory.
const STEPS_OF_UNLESS: usize = 1000;

/// The steps that each peer costs which may lose something: all are kept until they are looked at.
const STEPS_OF_CANDIDATE: usize = 1500;

/// The steps that each rule costs which covers a place.
const STEPS_OF_COVERING: usize = 40;

/// Somebody gains or loses rights.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What of.
    pub on: Vec<Scope>,
    /// Whom it concerns: everybody who meets these conditions, but for `unless`.
    pub who: Subjects,
    /// Whether they gain the rights; else they lose them.
    pub gains: bool,
    /// Which rights.
    pub rights: Vec<Right>,
    /// The rule that decided before, for a peer that meets no other condition; `None` if no rule
    /// allowed it.
    pub before: Option<String>,
    /// The rule that decides now.
    pub after: Option<String>,
    /// Those for whom nothing changes, or of whom another change tells: other rules concern them too.
    pub unless: Vec<Unless>,
    /// Whether it was too much work to tell whom of these it concerns: their patterns have many stars. It may be nobody.
    pub is_vague: bool,
}

/// Somebody who is not meant, since another rule concerns them too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unless {
    /// The rule.
    pub rule: String,
    /// Whom it concerns.
    pub who: Subjects,
}

/// What changes when one policy takes the place of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Who gains and who loses.
    pub changes: Vec<Change>,
    /// Whether there can be more: it was too much work to follow all.
    pub is_cut: bool,
}

/// Who gains and who loses which right when `new` takes the place of `old`, at a moment.
///
/// Every peer for whom [`Policy::outcome`] says something else, and whose unit and control group can be read, is in the
/// `who` of a change and in none of its `unless`; and the simplest peer of each `who`, of whom nothing else is true, does
/// gain or lose, unless the change is vague. That is so unless it is too much work, and the differences are cut: then there
/// may be more changes, and those that are told are true all the same. What is opened for a resource, and the settings, are not compared here.
#[must_use]
pub fn diff(old: &Policy, new: &Policy, at: Moment) -> Differences {
    diff_within(Budget::QUESTION, old, new, at)
}

fn diff_within(steps: u64, old: &Policy, new: &Policy, at: Moment) -> Differences {
    let comparison = Comparison::new([old, new], at, Budgets::of(steps));
    let changes = comparison.changes();
    Differences { changes, is_cut: comparison.budget().is_spent() }
}

/// Which of the two policies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Side {
    Old,
    New,
}

/// A rule of one of the policies: the number of its conditions, and its place in the order of ids.
type RuleOf = (usize, usize);

/// What one policy says about one right to one place: the rules, in the order of their ids.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Says {
    allow: Vec<RuleOf>,
    deny: Vec<RuleOf>,
}

/// One who gains or loses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    example: Example,
    gains: bool,
    before: Option<usize>,
    after: Option<usize>,
    unless: Vec<(Side, usize)>,
}

/// A example that loses, and those of the rules that allow now which spare some.
struct Loss {
    example: Example,
    spared_now: Vec<RuleOf>,
}

/// Slots, a tag or the broker, of which the same is true everywhere, and the rights that count of it.
struct Place {
    scope: Scope,
    target: Target,
    rights: Vec<Right>,
}

struct Comparison<'p> {
    policies: [&'p Policy; 2],
    /// The rules that count at the moment, with the number of their conditions.
    rules: [Vec<(usize, &'p Rule)>; 2],
    /// All different conditions.
    whos: Vec<&'p Who>,
    classes: Classes,
    /// The most slashes in a pattern.
    depth: usize,
}

impl<'p> Comparison<'p> {
    fn new(policies: [&'p Policy; 2], at: Moment, budgets: Budgets) -> Self {
        let mut numbers = HashMap::new();
        let mut whos = Vec::new();
        let rules = policies.map(|policy| {
            let counting = policy.rules().iter().filter(|rule| rule.valid.holds_at(at));
            let numbered = counting.map(|rule| {
                let number = *numbers.entry(&rule.who).or_insert_with(|| {
                    whos.push(&rule.who);
                    whos.len() - 1
                });
                (number, rule)
            });
            numbered.collect()
        });
        let cgroups = whos.iter().filter_map(|who| who.cgroups.as_deref()).flatten();
        let depth = cgroups.map(slashes).max().unwrap_or(0);
        Self { policies, rules, classes: Classes::new(&whos, budgets), whos, depth }
    }

    const fn budget(&self) -> &Budget {
        &self.classes.budgets.question
    }

    fn changes(&self) -> Vec<Change> {
        let mut known: HashMap<[Says; 2], Vec<Found>> = HashMap::new();
        let mut by_right: BTreeMap<(Found, Right), Vec<Scope>> = BTreeMap::new();
        for place in self.places() {
            for (right, says) in self.says(&place) {
                let found = known.entry(says).or_insert_with_key(|says| self.compare(says));
                for found in found {
                    if !self.budget().take(STEPS_OF_UNLESS * (1 + found.unless.len())) {
                        break;
                    }
                    by_right.entry((found.clone(), right)).or_default().push(place.scope);
                }
            }
        }
        let mut by_scope: BTreeMap<(Found, Vec<Scope>), Vec<Right>> = BTreeMap::new();
        for ((found, right), scopes) in by_right {
            by_scope.entry((found, joined(scopes))).or_default().push(right);
        }
        let changes =
            by_scope.into_iter().map(|((found, on), rights)| self.change(found, on, rights));
        united(changes.collect())
    }

    fn change(&self, found: Found, on: Vec<Scope>, rights: Vec<Right>) -> Change {
        let unless = found.unless.iter().filter_map(|(side, rule)| {
            let rule = self.rule(*side, *rule)?;
            Some(Unless { rule: rule.id.clone(), who: Subjects::from(&rule.who) })
        });
        let unless: BTreeSet<_> = unless.collect();
        let id = |side, rule: Option<usize>| Some(self.rule(side, rule?)?.id.clone());
        Change {
            on,
            who: found.example.subjects(&self.classes),
            gains: found.gains,
            rights,
            before: id(Side::Old, found.before),
            after: id(Side::New, found.after),
            unless: unless.into_iter().collect(),
            is_vague: found.example.is_vague,
        }
    }

    fn rule(&self, side: Side, place: usize) -> Option<&'p Rule> {
        self.rules_of(side).get(place).map(|(_, rule)| *rule)
    }

    fn policy(&self, side: Side) -> &'p Policy {
        let [old, new] = self.policies;
        if side == Side::Old { old } else { new }
    }

    fn rules_of(&self, side: Side) -> &[(usize, &'p Rule)] {
        let [old, new] = &self.rules;
        if side == Side::Old { old } else { new }
    }

    /// Everything that there are rights to, cut wherever a rule begins or ends.
    fn places(&self) -> Vec<Place> {
        let broker =
            Place { scope: Scope::Broker, target: Target::Broker, rights: vec![Right::Operate] };
        let mut places = vec![broker];
        let tags: BTreeSet<Tag> =
            self.policies.iter().flat_map(|policy| policy.tags().map(|tag| tag.id)).collect();
        let mut begins = self.begins();
        for tag in tags {
            let rights = of_tags();
            places.push(Place { scope: Scope::Tag(tag), target: Target::Tag(tag), rights });
            let begins = begins.remove(&tag).unwrap_or_default();
            let begins: Vec<_> = std::iter::once(Index::MIN).chain(begins).collect();
            for (at, first) in begins.iter().enumerate() {
                let last = begins.get(at + 1).and_then(|next| Index::new(next.get() - 1));
                let slot = Slot { tag, index: *first };
                let last = last.unwrap_or(Index::MAX);
                places.push(Place {
                    scope: Scope::Slots { tag, first: *first, last },
                    target: Target::Slot(slot),
                    rights: of_slots(),
                });
            }
        }
        places
    }

    /// The slots of each tag, but the first, at which a rule or a resource begins or before which one ends.
    fn begins(&self) -> BTreeMap<Tag, BTreeSet<Index>> {
        let mut begins: BTreeMap<Tag, BTreeSet<Index>> = BTreeMap::new();
        let patterns = self.rules.iter().flatten().flat_map(|(_, rule)| rule.slots.iter().copied());
        let resources = self.policies.into_iter().flat_map(Policy::resources);
        let resources = resources.map(|resource| {
            let Slot { tag, index } = resource.slot;
            Pattern::Range { tag, first: index, last: index }
        });
        for pattern in patterns.chain(resources) {
            if let Pattern::Range { tag, first, last } = pattern {
                let ends = [Some(first), last.get().checked_add(1).and_then(Index::new)];
                let inner = ends.into_iter().flatten().filter(|index| *index != Index::MIN);
                begins.entry(tag).or_default().extend(inner);
            }
        }
        begins
    }

    /// What both policies say about a place, for each right about which they could differ.
    fn says(&self, place: &Place) -> Vec<(Right, [Says; 2])> {
        let covering = [Side::Old, Side::New].map(|side| self.covering(side, place));
        let says = place.rights.iter().map(|right| {
            let [old, new] = &covering;
            let of = |side, covering| {
                let kept = self.policy(side).keeps(*right, place.target);
                if kept { Says::default() } else { says(covering, *right) }
            };
            (*right, [of(Side::Old, old), of(Side::New, new)])
        });
        says.filter(|(_, [old, new])| !old.concerns_the_same_as(new)).collect()
    }

    fn covering(&self, side: Side, place: &Place) -> Vec<(RuleOf, &'p Rule)> {
        let policy = self.policy(side);
        let rules = self.rules_of(side).iter().enumerate();
        if !self.budget().take(self.rules_of(side).len()) {
            return Vec::new();
        }
        let covers = |right: &Right, rule: &Rule| {
            policy.can_be_asked(*right, place.target) && rule.covers(*right, place.target)
        };
        let covering: Vec<_> = rules
            .filter(|(_, (_, rule))| place.rights.first().is_some_and(|right| covers(right, rule)))
            .map(|(at, (who, rule))| ((*who, at), *rule))
            .collect();
        // They are kept for as long as other places are compared.
        if self.budget().take(STEPS_OF_COVERING * covering.len()) { covering } else { Vec::new() }
    }

    /// Those who gain or lose.
    fn compare(&self, [old, new]: &[Says; 2]) -> Vec<Found> {
        let mut found = self.losing(old, new, false);
        found.extend(self.losing(new, old, true));
        found
    }

    /// Those to whom `before` grants and `after` refuses. `reversed`: the later policy is `before`.
    fn losing(&self, before: &Says, after: &Says, reversed: bool) -> Vec<Found> {
        let candidates = self.candidates(before, after);
        let narrowed = self.sure(candidates.iter().map(|it| self.narrowed(it, before, after)));
        let losing: BTreeSet<_> = narrowed.flatten().collect();
        let losses: Vec<_> = self.sure(losing.into_iter().map(|it| self.loss(it, after))).collect();
        let implied = |at: usize, it: &Loss| {
            let tells = |(place, other): (usize, &Loss)| {
                let first = place < at || !self.tells_of(it, &other.example);
                place != at && self.tells_of(other, &it.example) && first
            };
            losses.iter().enumerate().any(tells)
        };
        // Each is compared with each other; of very many, more are told than need be.
        let few = losses.len() <= MANY_LOSSES;
        let told = losses.iter().enumerate().filter(|(at, it)| !few || !implied(*at, it));
        self.sure(told.map(|(_, it)| self.found(it, before, after, reversed))).collect()
    }

    /// Those found before the budget was spent: of a later one, not all was looked at that could spare somebody.
    fn sure<'s, T>(&'s self, found: impl Iterator<Item = T> + 's) -> impl Iterator<Item = T> + 's {
        found.take_while(|_| !self.budget().is_spent())
    }

    fn loss(&self, example: Example, after: &Says) -> Loss {
        let concerns = |who: usize| !self.meeting(&example, who).is_empty();
        let is_denied = |part: &Example| {
            part.ask(&self.classes, |peer| after.deny.iter().any(|rule| self.includes(rule, peer)))
        };
        // Whom a rule denies, no other can spare.
        let known = example.is_vague || !self.budget().take(self.cost_of_parts(&example));
        let denied = known || example.parts(self.depth).iter().all(is_denied);
        let allowed = after.allow.iter().filter(|(who, _)| !denied && concerns(*who));
        Loss { spared_now: allowed.copied().collect(), example }
    }

    /// Whether whatever is true of a loser is told by the line of a loss: it is not spared there.
    fn tells_of(&self, loss: &Loss, loser: &Example) -> bool {
        let spared = |(who, _): &RuleOf| !self.meeting(loser, *who).is_empty();
        !loss.example.is_vague
            && loss.example.is_part_of(loser, &self.classes)
            && !loss.spared_now.iter().any(spared)
    }

    /// Peers among whom everybody who loses is represented.
    fn candidates(&self, before: &Says, after: &Says) -> BTreeSet<Example> {
        let mut candidates = BTreeSet::new();
        let denied: BTreeSet<usize> = before.deny.iter().map(|(who, _)| *who).collect();
        let allowed: BTreeSet<usize> = after.allow.iter().map(|(who, _)| *who).collect();
        let new_denials: BTreeSet<usize> =
            after.deny.iter().map(|(who, _)| *who).filter(|who| !denied.contains(who)).collect();
        for (who, _) in &before.allow {
            if self.budget().is_spent() {
                break;
            }
            let meeting = self.meeting(&Example::default(), *who);
            for denial in &new_denials {
                let both: Vec<_> =
                    meeting.iter().flat_map(|it| self.meeting(it, *denial)).collect();
                if !self.budget().take(STEPS_OF_CANDIDATE * both.len()) {
                    return candidates;
                }
                candidates.extend(both);
            }
            if !allowed.contains(who) && self.budget().take(STEPS_OF_CANDIDATE * meeting.len()) {
                candidates.extend(meeting);
            }
        }
        candidates
    }

    fn meeting(&self, example: &Example, who: usize) -> Vec<Example> {
        self.whos.get(who).map(|who| example.meeting(who, &self.classes)).unwrap_or_default()
    }

    /// The part of a example that loses: all of it, or only with some control groups.
    fn narrowed(&self, example: &Example, before: &Says, after: &Says) -> Vec<Example> {
        if !self.budget().take(self.cost_of_parts(example)) {
            return Vec::new();
        }
        let parts = example.parts(self.depth);
        let total = parts.len();
        let losing: Vec<_> = parts.into_iter().filter(|it| self.loses(it, before, after)).collect();
        if losing.len() == total { vec![example.clone()] } else { losing }
    }

    fn cost_of_parts(&self, example: &Example) -> usize {
        STEPS + example.cgroup().map_or(0, |glob| cost_of_variants(glob, self.depth))
    }

    /// A vague example may always lose.
    fn loses(&self, example: &Example, before: &Says, after: &Says) -> bool {
        let loses = |peer: &Peer<'_>| self.decides(before, peer).0 && !self.decides(after, peer).0;
        example.is_vague || example.ask(&self.classes, loses)
    }

    /// Whether a peer is granted it, and by the word of which rule.
    fn decides(&self, says: &Says, peer: &Peer<'_>) -> (bool, Option<usize>) {
        let first = |rules: &[RuleOf]| {
            rules.iter().find(|rule| self.includes(rule, peer)).map(|(_, rule)| *rule)
        };
        match (first(&says.deny), first(&says.allow)) {
            (Some(rule), _) => (false, Some(rule)),
            (None, rule) => (rule.is_some(), rule),
        }
    }

    fn includes(&self, (who, _): &RuleOf, peer: &Peer<'_>) -> bool {
        let Some(who) = self.whos.get(*who) else { return false };
        self.budget().take(cost(who, peer)) && who.includes(peer)
    }

    fn found(&self, loss: &Loss, before: &Says, after: &Says, reversed: bool) -> Found {
        let Loss { example, spared_now } = loss;
        let concerns = |(who, _): &&RuleOf| !self.meeting(example, *who).is_empty();
        let first = |rules: &[RuleOf]| rules.iter().find(concerns).map(|(_, rule)| *rule);
        let decides = |says| example.ask(&self.classes, |peer| self.decides(says, peer).1);
        let (rule_before, rule_after) = if example.is_vague {
            (first(&before.allow), first(&after.deny))
        } else {
            (decides(before), decides(after))
        };
        let (earlier, later) =
            if reversed { (Side::New, Side::Old) } else { (Side::Old, Side::New) };
        let denied = before.deny.iter().filter(concerns).map(|(_, rule)| (earlier, *rule));
        let allowed = spared_now.iter().map(|(_, rule)| (later, *rule));
        let unless = denied.chain(allowed).collect();
        let (before, after) =
            if reversed { (rule_after, rule_before) } else { (rule_before, rule_after) };
        Found { example: example.clone(), gains: reversed, before, after, unless }
    }
}

impl Says {
    /// Whether the same people are allowed and denied, by whatever rules.
    fn concerns_the_same_as(&self, other: &Self) -> bool {
        let whos = |rules: &[RuleOf]| rules.iter().map(|(who, _)| *who).collect::<BTreeSet<_>>();
        whos(&self.allow) == whos(&other.allow) && whos(&self.deny) == whos(&other.deny)
    }
}

/// About how many steps it takes to find out whether a rule concerns a peer, at most.
fn cost(who: &Who, peer: &Peer<'_>) -> usize {
    if !who.includes_user(peer.uid) {
        return 2;
    }
    let of = |globs: &Option<Box<[Glob]>>, fact: Option<&str>| -> usize {
        let (Some(globs), Some(fact)) = (globs, fact) else { return 1 };
        globs.iter().map(|glob| glob.cost(fact)).sum()
    };
    2 + of(&who.units, peer.unit) + of(&who.cgroups, peer.cgroup) + of(&who.labels, peer.label)
}

fn says(covering: &[(RuleOf, &Rule)], right: Right) -> Says {
    let rules = |says: fn(&Rule) -> Rights| {
        let saying = covering.iter().filter(|(_, rule)| says(rule).contains(right));
        saying.map(|(rule, _)| *rule).collect()
    };
    Says { allow: rules(|rule| rule.allow), deny: rules(|rule| rule.deny) }
}

fn of_slots() -> Vec<Right> {
    let of_slot = |right: &Right| !right.is_of_broker() && !right.is_of_tag();
    Right::ALL.into_iter().filter(of_slot).collect()
}

fn of_tags() -> Vec<Right> {
    Right::ALL.into_iter().filter(|right| right.is_of_tag()).collect()
}

/// Makes one change of those that differ only in a user, a group, a unit, a control group or a label.
fn united(changes: Vec<Change>) -> Vec<Change> {
    let changes = united_by(changes, |who| Some(&mut who.users));
    let changes = united_by(changes, |who| match &mut who.groups[..] {
        [groups] => Some(groups),
        _ => None::<&mut Vec<Gid>>,
    });
    let changes = united_by(changes, |who| Some(&mut who.units));
    let changes = united_by(changes, |who| Some(&mut who.cgroups));
    united_by(changes, |who| Some(&mut who.labels))
}

fn united_by<T: Ord>(
    changes: Vec<Change>,
    list: fn(&mut Subjects) -> Option<&mut Vec<T>>,
) -> Vec<Change> {
    let mut united: BTreeMap<(Change, bool), Vec<T>> = BTreeMap::new();
    for mut change in changes {
        let taken = list(&mut change.who).map(std::mem::take).unwrap_or_default();
        let key = (change, taken.is_empty());
        united.entry(key).or_default().extend(taken);
    }
    let restored = united.into_iter().map(|((mut change, _), mut taken)| {
        taken.sort_unstable();
        taken.dedup();
        if let Some(list) = list(&mut change.who) {
            *list = taken;
        }
        change
    });
    let mut restored: Vec<_> = restored.collect();
    restored.sort_unstable();
    restored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::policy;

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
