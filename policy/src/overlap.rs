//! What patterns have in common: which texts two of them match, and whether one matches all that another does.
//!
//! A text stands for all texts of a pattern where each of its stars is a character that no pattern contains: whatever
//! matches that text does so by stars of its own, so it matches every other text of the pattern too. Two stars in a path are
//! several such texts, by how many `/` they stand for.

use std::collections::{BTreeSet, HashSet};

use crate::glob::{Glob, Piece, Star};

/// Stands for a star. The loader refuses patterns with control characters.
const STRANGE: &str = "\u{1}";

/// Patterns with many stars can overlap in very many ways; more than these are not looked at.
const MOST: usize = 256;

/// Patterns that together match exactly the texts that both of these match.
pub(crate) fn overlaps(one: &Glob, other: &Glob) -> Vec<Glob> {
    let mut product = Product { one: one.pieces(), other: other.pieces(), ..Product::default() };
    product.follow(0, 0);
    let globs: Vec<_> = product.found.iter().map(|pieces| Glob::of(pieces, one.star())).collect();
    // Of two equal ones the first stays.
    let is_part = |at: usize, glob: &Glob| {
        let includes = |(place, other): (usize, &Glob)| {
            place != at && includes(other, glob) && (place < at || !includes(glob, other))
        };
        globs.iter().enumerate().any(includes)
    };
    let whole = globs.iter().enumerate().filter(|(at, glob)| !is_part(*at, glob));
    whole.map(|(_, glob)| glob.clone()).collect()
}

/// Whether one pattern matches everything that another does.
pub(crate) fn includes(one: &Glob, other: &Glob) -> bool {
    any_includes(std::slice::from_ref(one), other)
}

/// Whether each text of a pattern is matched by one of several.
pub(crate) fn any_includes(several: &[Glob], one: &Glob) -> bool {
    let depth = several.iter().map(slashes).max().unwrap_or(0);
    variants(one, depth).iter().all(|variant| {
        let sample = sample(variant);
        several.iter().any(|glob| glob.matches(&sample))
    })
}

/// How many `/` a pattern has.
pub(crate) fn slashes(glob: &Glob) -> usize {
    glob.text().matches('/').count()
}

/// The pattern, taken apart so that one text each stands for all that it matches, as long as other patterns have no more
/// than `depth` times `/`.
pub(crate) fn variants(glob: &Glob, depth: usize) -> Vec<Glob> {
    if glob.star() == Star::Anything || !glob.pieces().contains(&Piece::LongRun) {
        return vec![glob.clone()];
    }
    let mut done: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in glob.pieces() {
        done = match piece {
            Piece::LongRun if done.len() < MOST => {
                let long = (0..=depth + 1).map(|depth| run(depth, Piece::Run));
                let longer = std::iter::once(run(depth + 2, Piece::LongRun));
                let runs: Vec<_> = long.chain(longer).collect();
                let each =
                    |begin: Vec<Piece>| runs.iter().map(move |run| [&begin[..], run].concat());
                done.into_iter().flat_map(each).collect()
            }
            piece => done.into_iter().map(|begin| [&begin[..], &[piece]].concat()).collect(),
        };
    }
    done.iter().map(|pieces| Glob::of(pieces, glob.star())).collect()
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
}

impl Product {
    /// Goes on from a place in each. Says whether both ends were reached.
    fn follow(&mut self, i: usize, j: usize) -> bool {
        if self.dead.contains(&(i, j)) {
            return false;
        }
        let reached = self.found.len() >= MOST || self.step(i, j);
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

    fn common(one: &str, other: &str, star: Star) -> Vec<String> {
        let overlaps = overlaps(&Glob::new(one, star), &Glob::new(other, star));
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
    fn a_pattern_includes_another_if_it_matches_all_its_texts() {
        let path = |text| Glob::new(text, Star::WithinComponent);
        assert!(includes(&path("/a/**"), &path("/a/*")) && includes(&path("/**"), &path("/a/**")));
        assert!(!includes(&path("/a/*"), &path("/a/**")));
        assert!(!includes(&path("/a/*/**"), &path("/a/**")));
        assert!(any_includes(&[path("/a/*"), path("/a/*/**")], &path("/a/**")));
        assert!(!any_includes(&[path("/a/*"), path("/a/*/*/**")], &path("/a/**")));
    }
}
