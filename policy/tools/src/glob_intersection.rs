//! What patterns have in common: which texts two of them match, and whether one matches all that another does.
//!
//! A text stands for all texts of a pattern where each of its stars is a character that no pattern contains: whatever
//! matches that text does so by stars of its own, so it matches every other text of the pattern too. Two stars in a path are
//! several such texts, by how many `/` they stand for.

use std::collections::{BTreeSet, HashSet};

use fdbroker_policy::rules::{Glob, Piece, Star};

use crate::budget::Budget;

/// Stands for a star. The loader refuses patterns with control characters.
const STRANGE: &str = "\u{1}";

/// Patterns with many stars can overlap in very many ways; more than these are not followed.
const MOST: usize = 64;

/// A pattern is not taken apart into more than these.
const MOST_VARIANTS: usize = 512;

/// The most steps for two patterns.
const STEPS_OF_PAIR: u32 = 50_000;

/// The steps that a pattern costs which two have in common: somebody has to look at it.
const STEPS_OF_GLOB: usize = 1000;

/// The steps that looking at one pair of places of two patterns costs.
const STEPS_OF_WAY: usize = 2;

/// The same where what was matched on the way is kept.
const STEPS_OF_STEP: usize = 20;

/// What may be spent for patterns.
pub(crate) struct Budgets {
    /// For what two patterns have in common: where it is spent, this is not said.
    pub(crate) patterns: Budget,
    /// For everything: where it is spent, what is said is not all.
    pub(crate) question: Budget,
}

impl Budgets {
    pub(crate) const fn of(question: u64) -> Self {
        Self { patterns: Budget::of(Budget::PATTERNS), question: Budget::of(question) }
    }
}

/// Patterns that together match exactly the texts that both of these match. `None`: there are such texts, and too many
/// ways to say which.
pub(crate) fn overlaps(one: &Glob, other: &Glob, budgets: &Budgets) -> Option<Vec<Glob>> {
    let (budget, question) = (&budgets.patterns, &budgets.question);
    if are_disjoint(one, other, question) {
        return Some(Vec::new());
    }
    let mut product = Product {
        one: one.pieces(),
        other: other.pieces(),
        steps: u32::try_from(budget.left()).map_or(STEPS_OF_PAIR, |left| left.min(STEPS_OF_PAIR)),
        ..Product::default()
    };
    let before = product.steps;
    product.follow(0, 0);
    let spent = usize::try_from(before - product.steps).unwrap_or(usize::MAX);
    let enough = question.take(spent.saturating_mul(STEPS_OF_STEP))
        && budget.take(spent.saturating_add(product.found.len() * STEPS_OF_GLOB));
    if product.gave_up || !enough {
        return None;
    }
    let globs: Vec<_> = product.found.iter().map(|pieces| Glob::of(pieces, one.star())).collect();
    // Of two equal ones the first stays.
    let is_part = |at: usize, glob: &Glob| {
        let includes = |(place, other): (usize, &Glob)| {
            place != at
                && includes(other, glob, question)
                && (place < at || !includes(glob, other, question))
        };
        globs.iter().enumerate().any(includes)
    };
    let whole = globs.iter().enumerate().filter(|(at, glob)| !is_part(*at, glob));
    Some(whole.map(|(_, glob)| glob.clone()).collect())
}

/// Whether no text matches both. The time grows with the product of their lengths, and never more. Where the budget does not
/// reach: no.
pub(crate) fn are_disjoint(one: &Glob, other: &Glob, budget: &Budget) -> bool {
    let (one, other) = (one.pieces(), other.pieces());
    let width = other.len() + 1;
    let mut seen = vec![false; (one.len() + 1) * width];
    let mut ways = vec![(0, 0)];
    if !budget.take(one.len() + other.len() + one.len() * other.len() / 64) {
        return false;
    }
    while let Some((i, j)) = ways.pop() {
        if !budget.take(STEPS_OF_WAY) {
            return false;
        }
        match seen.get_mut(i * width + j) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        match (one.get(i).copied(), other.get(j).copied()) {
            (None, None) => return false,
            (Some(Piece::Byte(one)), Some(Piece::Byte(other))) if one == other => {
                ways.push((i + 1, j + 1));
            }
            (Some(Piece::Byte(byte)), Some(run @ (Piece::Run | Piece::LongRun))) => {
                ways.push((i, j + 1));
                ways.extend(accepts(run, byte).then_some((i + 1, j)));
            }
            (Some(run @ (Piece::Run | Piece::LongRun)), Some(Piece::Byte(byte))) => {
                ways.push((i + 1, j));
                ways.extend(accepts(run, byte).then_some((i, j + 1)));
            }
            (Some(Piece::Run | Piece::LongRun), Some(Piece::Run | Piece::LongRun)) => {
                ways.extend([(i + 1, j), (i, j + 1)]);
            }
            (Some(Piece::Run | Piece::LongRun), None) => ways.push((i + 1, j)),
            (None, Some(Piece::Run | Piece::LongRun)) => ways.push((i, j + 1)),
            (Some(Piece::Byte(_)), _) | (None, Some(Piece::Byte(_))) => {}
        }
    }
    true
}

/// Whether one pattern matches everything that another does.
pub(crate) fn includes(one: &Glob, other: &Glob, budget: &Budget) -> bool {
    any_includes(std::slice::from_ref(one), other, budget)
}

/// Whether each text of a pattern is matched by one of several. Where that is too much work to tell: no.
pub(crate) fn any_includes(several: &[Glob], one: &Glob, budget: &Budget) -> bool {
    let depth = several.iter().map(slashes).max().unwrap_or(0);
    let includes = |variant: &Glob| {
        let sample = sample(variant);
        several.iter().any(|glob| budget.take(glob.cost(&sample)) && glob.matches(&sample))
    };
    // What most patterns do not include is found out without taking them apart.
    if !includes(one) || !budget.take(cost_of_variants(one, depth)) {
        return false;
    }
    variants(one, depth).is_some_and(|variants| variants.iter().all(includes))
}

/// About how many steps it takes to take a pattern apart.
pub(crate) fn cost_of_variants(glob: &Glob, depth: usize) -> usize {
    let text = glob.text();
    let long = u32::try_from(text.matches("**").count()).unwrap_or(u32::MAX);
    let variants = (depth + 3).saturating_pow(long).min(MOST_VARIANTS);
    variants.saturating_mul(text.len() + 4 * depth).saturating_mul(4)
}

/// How many `/` a pattern has.
pub(crate) fn slashes(glob: &Glob) -> usize {
    glob.text().matches('/').count()
}

/// Splits the pattern into patterns, one text of each of which stands for all that it matches. That
/// holds as long as other patterns have no more than `depth` times `/`. Returns `None` if these
/// would be too many.
pub(crate) fn variants(glob: &Glob, depth: usize) -> Option<Vec<Glob>> {
    if glob.star() == Star::Anything || !glob.pieces().contains(&Piece::LongRun) {
        return Some(vec![glob.clone()]);
    }
    let mut done: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in glob.pieces() {
        done = match piece {
            Piece::LongRun => {
                let long = (0..=depth + 1).map(|depth| run(depth, Piece::Run));
                let longer = std::iter::once(run(depth + 2, Piece::LongRun));
                let runs: Vec<_> = long.chain(longer).collect();
                if done.len() * runs.len() > MOST_VARIANTS {
                    return None;
                }
                let each =
                    |begin: Vec<Piece>| runs.iter().map(move |run| [&begin[..], run].concat());
                done.into_iter().flat_map(each).collect()
            }
            piece => {
                done.iter_mut().for_each(|begin| begin.push(piece));
                done
            }
        };
    }
    Some(done.iter().map(|pieces| Glob::of(pieces, glob.star())).collect())
}

/// Components with as many slashes between them, the last one of this kind.
fn run(slashes: usize, last: Piece) -> Vec<Piece> {
    let component = [Piece::Run, Piece::Byte(b'/')];
    component.into_iter().cycle().take(2 * slashes).chain([last]).collect()
}

/// A text that stands for the pattern.
pub(crate) fn sample(glob: &Glob) -> String {
    let stars = glob.text().replace("**", "*");
    stars.replace('*', STRANGE)
}

/// Two patterns, followed side by side.
#[derive(Default)]
struct Product {
    one: Vec<Piece>,
    other: Vec<Piece>,
    /// What was matched on the way to the places that are looked at.
    way: Vec<Piece>,
    found: BTreeSet<Vec<Piece>>,
    /// Places from which there is no way to both ends.
    dead: HashSet<(usize, usize)>,
    /// How many steps may still be made.
    steps: u32,
    /// Whether there was more to find.
    gave_up: bool,
}

impl Product {
    /// Goes on from a place in each. Says whether both ends were reached.
    fn follow(&mut self, i: usize, j: usize) -> bool {
        if self.gave_up || self.dead.contains(&(i, j)) {
            return self.gave_up;
        }
        let left = self.steps.checked_sub(1).filter(|_| self.found.len() <= MOST);
        let Some(left) = left else {
            self.gave_up = true;
            return true;
        };
        self.steps = left;
        let reached = self.step(i, j);
        if !reached {
            self.dead.insert((i, j));
        }
        reached
    }

    fn step(&mut self, i: usize, j: usize) -> bool {
        match (self.one.get(i).copied(), self.other.get(j).copied()) {
            (None, None) => {
                self.found.insert(self.way.clone());
                true
            }
            (Some(Piece::Byte(one)), Some(Piece::Byte(other))) => {
                one == other && self.follow_with(Piece::Byte(one), i + 1, j + 1)
            }
            (Some(Piece::Byte(byte)), Some(run)) => {
                let ended = self.follow(i, j + 1);
                (accepts(run, byte) && self.follow_with(Piece::Byte(byte), i + 1, j)) || ended
            }
            (Some(run), Some(Piece::Byte(byte))) => {
                let ended = self.follow(i + 1, j);
                (accepts(run, byte) && self.follow_with(Piece::Byte(byte), i, j + 1)) || ended
            }
            (Some(one), Some(other)) => {
                // Both may go on for as long as both accept; then one of them ends.
                let run = if one == Piece::Run { one } else { other };
                let first = self.follow_with(run, i + 1, j);
                self.follow_with(run, i, j + 1) || first
            }
            (Some(Piece::Byte(_)), None) | (None, Some(Piece::Byte(_))) => false,
            (Some(_), None) => self.follow(i + 1, j),
            (None, Some(_)) => self.follow(i, j + 1),
        }
    }

    fn follow_with(&mut self, piece: Piece, i: usize, j: usize) -> bool {
        let length = self.way.len();
        // A run behind a run is the same run.
        if matches!(piece, Piece::Byte(_)) || self.way.last() != Some(&piece) {
            self.way.push(piece);
        }
        let reached = self.follow(i, j);
        self.way.truncate(length);
        reached
    }
}

fn accepts(run: Piece, byte: u8) -> bool {
    run == Piece::LongRun || byte != b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Budgets {
        Budgets::of(Budget::QUESTION)
    }

    fn common(one: &str, other: &str, star: Star) -> Vec<String> {
        let (one, other) = (Glob::new(one, star), Glob::new(other, star));
        let overlaps = overlaps(&one, &other, &budgets()).expect("few");
        assert_eq!(are_disjoint(&one, &other, &budgets().question), overlaps.is_empty());
        overlaps.iter().map(|glob| glob.text().to_owned()).collect()
    }

    #[test]
    fn what_two_patterns_have_in_common_is_a_few_patterns() {
        let units = |one, other| common(one, other, Star::Anything);
        assert_eq!(units("a.service", "a.service"), ["a.service"]);
        assert_eq!(units("a.service", "b.service"), [""; 0]);
        assert_eq!(units("a*.service", "ab.service"), ["ab.service"]);
        assert_eq!(units("a*", "*.service"), ["a*.service"]);
        assert_eq!(units("ab*", "*bc"), ["abc", "ab*bc"]);
        assert_eq!(units("*", "*x*"), ["*x*"]);
    }

    #[test]
    fn paths_overlap_by_components() {
        let paths = |one, other| common(one, other, Star::WithinComponent);
        assert_eq!(paths("/a/*", "/a/**"), ["/a/*"]);
        assert_eq!(paths("/a/**", "/**/b"), ["/a/b", "/a/**/b"]);
        assert_eq!(paths("/a/*", "/*/b/*"), [""; 0]);
    }

    #[test]
    fn patterns_with_many_stars_are_given_up_on_soon() {
        let before = std::time::Instant::now();
        let (letters, digits) = ("*a*b*c*d*e*f*g*h*i*j*", "*0*1*2*3*4*5*6*7*8*9*");
        let unit = |text: &str| Glob::new(&format!("{text}.service"), Star::Anything);
        assert!(overlaps(&unit(letters), &unit(digits), &budgets()).is_none());
        assert!(!are_disjoint(&unit(letters), &unit(digits), &budgets().question));
        let scope = Glob::new(&format!("{digits}.scope"), Star::Anything);
        assert_eq!(overlaps(&unit(letters), &scope, &budgets()), Some(Vec::new()));
        let path = Glob::new(&"/**/a".repeat(200), Star::WithinComponent);
        assert!(variants(&path, 400).is_none() && !includes(&path, &path, &budgets().question));
        assert!(before.elapsed().as_secs() < 5, "{:?}", before.elapsed());
    }

    #[test]
    fn a_pattern_includes_another_if_it_matches_all_its_texts() {
        let path = |text| Glob::new(text, Star::WithinComponent);
        let includes = |one: &Glob, other: &Glob| includes(one, other, &budgets().question);
        let any_includes =
            |several: &[Glob], one: &Glob| any_includes(several, one, &budgets().question);
        assert!(includes(&path("/a/**"), &path("/a/*")) && includes(&path("/**"), &path("/a/**")));
        assert!(!includes(&path("/a/*"), &path("/a/**")));
        assert!(!includes(&path("/a/*/**"), &path("/a/**")));
        assert!(any_includes(&[path("/a/*"), path("/a/*/**")], &path("/a/**")));
        assert!(!any_includes(&[path("/a/*"), path("/a/*/*/**")], &path("/a/**")));
    }
}
