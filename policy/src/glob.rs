//! Patterns over text: of the names of units, of control groups and of labels.
//!
//! A stranger may have chosen the text that is matched. So the time never grows faster than its
//! length times that of the pattern, and nothing is allocated: all ways to match are followed side
//! by side.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Patterns are shorter than this, in bytes.
pub(crate) const TOO_LONG: usize = 1024;

const WORD: usize = 64;
const WORDS: usize = TOO_LONG / WORD;

/// One pattern.
#[derive(Clone)]
pub struct Glob {
    text: Box<str>,
    star: Star,
    /// What the text must begin with.
    prefix: Box<str>,
    /// What follows the prefix: nothing, or a run first.
    pieces: Box<[Piece]>,
}

/// What `*` stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Star {
    /// Any run of characters, also none.
    Anything,
    /// Any run of characters but `/`; `**` stands for any run.
    WithinComponent,
}

/// One piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Piece {
    /// This byte.
    Byte(u8),
    /// Any run of bytes but `/`.
    Run,
    /// Any run of bytes.
    LongRun,
}

/// The pieces that may come next, as bits.
#[derive(Clone, Copy)]
struct States([u64; WORDS]);

impl Glob {
    /// Reads a pattern, which must be shorter than [`TOO_LONG`]: of a longer one the rest matches nothing.
    pub fn new(text: &str, star: Star) -> Self {
        let pieces = pieces(text, star);
        let literal = pieces.iter().take_while(|piece| matches!(piece, Piece::Byte(_))).count();
        let prefix = text.get(..literal).unwrap_or_default();
        let rest = pieces.get(literal..).unwrap_or_default();
        Self { text: text.into(), star, prefix: prefix.into(), pieces: rest.into() }
    }

    /// The pattern of these pieces.
    pub fn of(pieces: &[Piece], star: Star) -> Self {
        let mut text = Vec::new();
        for piece in pieces {
            match (piece, star) {
                (Piece::Byte(byte), _) => text.push(*byte),
                (Piece::LongRun, Star::WithinComponent) => text.extend(b"**"),
                (Piece::Run | Piece::LongRun, _) => text.push(b'*'),
            }
        }
        let text = String::from_utf8_lossy(&text);
        Self::new(&text, star)
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What its stars stand for.
    pub const fn star(&self) -> Star {
        self.star
    }

    /// All its pieces.
    pub fn pieces(&self) -> Vec<Piece> {
        self.prefix.bytes().map(Piece::Byte).chain(self.pieces.iter().copied()).collect()
    }

    /// Returns how many stars it has: what matching it takes grows with them.
    pub fn stars(&self) -> usize {
        self.pieces.iter().filter(|piece| !matches!(piece, Piece::Byte(_))).count()
    }

    /// Returns about how many steps it takes to match a text, at most.
    pub fn cost(&self, text: &str) -> usize {
        let rest = text.strip_prefix(&*self.prefix).map_or(0, str::len);
        1 + rest.saturating_mul(12 + self.stars()) / 4
    }

    /// Whether the pattern matches all of a text.
    pub fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.prefix) else { return false };
        if self.pieces.is_empty() {
            return rest.is_empty();
        }
        let mut states = States::NONE;
        states.add(0, &self.pieces);
        for byte in rest.bytes() {
            states = states.after(byte, &self.pieces);
            if states.is_empty() {
                return false;
            }
        }
        states.contains(self.pieces.len())
    }
}

fn pieces(text: &str, star: Star) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut bytes = text.bytes().take(TOO_LONG - 1).peekable();
    while let Some(byte) = bytes.next() {
        pieces.push(match (byte, star) {
            (b'*', Star::Anything) => Piece::LongRun,
            (b'*', Star::WithinComponent) if bytes.next_if_eq(&b'*').is_some() => Piece::LongRun,
            (b'*', Star::WithinComponent) => Piece::Run,
            (byte, _) => Piece::Byte(byte),
        });
    }
    pieces
}

impl States {
    const NONE: Self = Self([0; WORDS]);

    /// Adds a piece that may come next, and those behind it if it may be empty.
    fn add(&mut self, from: usize, pieces: &[Piece]) {
        for state in from..=pieces.len() {
            if let Some(word) = self.0.get_mut(state / WORD) {
                *word |= 1 << (state % WORD);
            }
            if !matches!(pieces.get(state), Some(Piece::Run | Piece::LongRun)) {
                return;
            }
        }
    }

    /// What may come next once a byte has come.
    fn after(self, byte: u8, pieces: &[Piece]) -> Self {
        let mut next = Self::NONE;
        for state in self.iter() {
            match pieces.get(state) {
                Some(Piece::Byte(wanted)) if *wanted == byte => next.add(state + 1, pieces),
                Some(Piece::LongRun) => next.add(state, pieces),
                Some(Piece::Run) if byte != b'/' => next.add(state, pieces),
                _ => {}
            }
        }
        next
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, word)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|word| *word != 0);
            std::iter::successors(Some(word).filter(|word| *word != 0), rest)
                .map(move |word| at * WORD + usize::try_from(word.trailing_zeros()).unwrap_or(0))
        })
    }

    fn contains(self, state: usize) -> bool {
        self.0.get(state / WORD).is_some_and(|word| word & (1 << (state % WORD)) != 0)
    }

    fn is_empty(self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl Hash for Glob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Glob {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Glob {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anything(pattern: &str, text: &str) -> bool {
        Glob::new(pattern, Star::Anything).matches(text)
    }

    fn path(pattern: &str, text: &str) -> bool {
        Glob::new(pattern, Star::WithinComponent).matches(text)
    }

    #[test]
    fn without_a_star_only_the_same_text_matches() {
        assert!(anything("vpn.service", "vpn.service"));
        for other in ["", "vpn", "vpn.service2", "xvpn.service", "VPN.service"] {
            assert!(!anything("vpn.service", other), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_any_run_also_none() {
        for unit in ["app@.service", "app@1.service", "app@a@b.service", "app@x/y.service"] {
            assert!(anything("app@*.service", unit), "{unit}");
        }
        for unit in ["app.service", "app@1.scope", "app@1.service.d", "xapp@1.service"] {
            assert!(!anything("app@*.service", unit), "{unit}");
        }
        assert!(anything("*", "") && anything("*", "x") && anything("a*b*c", "abbbcc"));
        assert!(!anything("a*b*c", "acb") && !anything("ab*ba", "aba"));
    }

    #[test]
    fn in_a_path_one_star_stays_within_its_component_and_two_do_not() {
        assert!(path("/system.slice/*", "/system.slice/vpn.service"));
        assert!(!path("/system.slice/*", "/system.slice/vpn.service/sub"));
        assert!(!path("/system.slice/*", "/system.slice"));
        assert!(path("/machine.slice/**", "/machine.slice/a/b/c"));
        assert!(path("/**/x*/y", "/a/b/xx/y") && path("/**/x*/y", "/a/x/y"));
        assert!(!path("/**/x*/y", "/x/y/z") && !path("/**/x*/y", "/a/x/b/y"));
        assert!(path("/**", "/") && path("/a**z", "/abc/xyz"));
    }

    #[test]
    fn text_of_several_bytes_matches_by_whole_characters() {
        assert!(anything("ü*ö", "üäö") && !anything("ü*ö", "ü\u{f7}"));
    }

    #[test]
    fn neither_a_long_text_nor_many_stars_take_long() {
        let (pattern, text) = ("*a".repeat(511), "a".repeat(4000) + "b");
        let before = std::time::Instant::now();
        assert!(!anything(&pattern, &text));
        assert!(path(&"/**a*".repeat(204), &"/aaa".repeat(1000)));
        assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
    }

    #[test]
    fn what_matching_may_cost_grows_with_the_text_and_the_stars() {
        let glob = Glob::new("a*b*", Star::Anything);
        assert_eq!(glob.stars(), 2);
        assert_eq!((glob.cost("a"), glob.cost("axxxx"), glob.cost("axxxxxxxx")), (1, 15, 29));
        assert_eq!(glob.cost("x".repeat(4000).as_str()), 1, "the first byte decides");
        let longer = Glob::new("a*b**", Star::Anything);
        assert!(longer.cost("axxxx") > glob.cost("axxxx"));
    }

    #[test]
    fn no_pattern_has_more_pieces_than_there_is_room_for() {
        for star in [Star::Anything, Star::WithinComponent] {
            assert_eq!(pieces(&"x".repeat(2 * TOO_LONG), star).len(), TOO_LONG - 1);
        }
    }

    #[test]
    fn a_pattern_of_the_greatest_length_matches() {
        let long = "x".repeat(TOO_LONG - 2);
        assert!(anything(&(long.clone() + "*"), &(long.clone() + "y")));
        assert!(anything(&("*".to_owned() + &long), &("y".to_owned() + &long)));
    }
}
