//! One line of subuid(5): `OWNER:FIRST:COUNT`.

use super::range::OwnedRange;

/// The ids below this one are system users' (SYS_UID_MAX in login.defs(5)). They are nobody's subordinate ids,
/// and a system user's ranges are used by programs of many.
const FIRST_ORDINARY_USER: u32 = 1000;
/// The last id that a user can have.
const LAST: u32 = u32::MAX - 1;

/// What a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    pub(super) owner: &'a str,
    first: u32,
    last: u32,
}

impl<'a> Line<'a> {
    /// Reads a line as newuidmap(1) does, which takes numbers as strtoul(3) takes them.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.split(':');
        let (owner, first, count) = (parts.next()?, parts.next()?, parts.next()?);
        if owner.is_empty() || parts.next().is_some() {
            return None;
        }
        let (first, count) = (number(first)?, number(count)?);
        let last = first.checked_add(count)?.checked_sub(1)?.min(LAST.into());
        Some(Self { owner, first: u32::try_from(first).ok()?, last: u32::try_from(last).ok()? })
    }

    /// Whether nobody writes a range there.
    pub(super) fn is_blank(line: &str) -> bool {
        line.trim().is_empty() || line.starts_with('#')
    }

    /// Returns the range, if it has ids of other than system users. It belongs to `owner`, unless that is a
    /// system user or not known.
    pub(super) fn range(&self, owner: Option<u32>) -> Option<OwnedRange> {
        let owner = owner.filter(|owner| (FIRST_ORDINARY_USER..=LAST).contains(owner));
        let first = self.first.max(FIRST_ORDINARY_USER);
        (first <= self.last).then_some(OwnedRange { first, last: self.last, owner })
    }
}

/// A number as strtoul(3) with base 0 reads it.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    only_digits.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(line: &str) -> Option<(u32, u32)> {
        Line::parse(line)?.range(Some(7)).map(|range| (range.first, range.last))
    }

    #[test]
    fn a_line_is_read_as_newuidmap_reads_it() {
        assert_eq!(range("alice:100000:65536"), Some((100_000, 165_535)));
        assert_eq!(range("alice: 0x10000:0200000"), Some((65_536, 131_071)));
        assert_eq!(range("alice:+5000:1"), Some((5000, 5000)));
        assert_eq!(range("alice:4294967290:100"), Some((4_294_967_290, 4_294_967_294)));
        assert_eq!(Line::parse("1000:1:1").map(|line| line.owner), Some("1000"));
    }

    #[test]
    fn what_newuidmap_does_not_understand_is_no_range() {
        for line in ["", "alice", "alice:1", ":1:2", "alice:1:2:3", "alice:x:2", "alice:-5:2"] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
        for line in ["alice:1:0", "alice:5000:0", "alice:99999999999:1", "alice:1:++2"] {
            assert_eq!(range(line), None, "{line}");
        }
        assert!(Line::is_blank(" ") && Line::is_blank("# alice:1:2"));
    }

    #[test]
    fn system_users_ids_are_nobodys_and_their_ranges_have_no_owner() {
        assert_eq!(range("root:0:1000"), None);
        assert_eq!(range("root:0:2000"), Some((1000, 1999)));
        let line = Line::parse("x:5000:9").unwrap();
        assert_eq!(
            [0, 999, 1000, u32::MAX].map(|owner| line.range(Some(owner)).unwrap().owner),
            [None, None, Some(1000), None]
        );
    }
}
