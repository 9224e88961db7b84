//! Finds the word that somebody may have meant.

/// How many words are listed when none is near.
const LISTED: usize = 24;

/// Words beyond this many are not searched: a file with many mistakes must not take minutes to refuse.
const SEARCHED: usize = 1000;

/// Words that others use, however near they are to one of the language.
const OTHERS_SAY: [(&str, &str); 8] = [
    ("uid", "user"),
    ("username", "user"),
    ("login", "user"),
    ("gid", "group"),
    ("rights", "allow"),
    ("grant", "allow"),
    ("resource", "slots"),
    ("service", "unit"),
];

/// What to write instead of a word that is not known: the nearest known one, or the list of all.
pub(super) fn suggest<'k>(
    word: &str,
    known: impl Iterator<Item = &'k str> + Clone,
    list: &str,
) -> String {
    match meant(word, known.clone().take(SEARCHED)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.clone().next().is_none() => "none is declared".to_owned(),
        None => format!("{list}: {}", listed(known)),
    }
}

/// Whether this word, which is not known, is best taken for that one of the known.
pub(super) fn is_meant<'k>(
    word: &str,
    meant: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> bool {
    self::meant(word, known.take(SEARCHED)) == Some(meant)
}

/// The known word that others call so, or else the nearest.
fn meant<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> Option<&'k str> {
    let named = OTHERS_SAY.iter().find(|(other, _)| *other == word);
    let named = named.and_then(|(_, ours)| known.clone().find(|known| known == ours));
    named.or_else(|| nearest(word, known))
}

/// The known word nearest to this one, if any is near enough to be meant. The first in the alphabet if several are.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.chars().take(100).collect();
    let mut farthest = (word.len() / 3).max(1);
    let mut letters = Vec::new();
    let mut best: Option<(usize, &str)> = None;
    for other in known {
        letters.clear();
        letters.extend(other.chars());
        if letters.len().abs_diff(word.len()) > farthest {
            continue;
        }
        let found =
            distance(&word, &letters, farthest).filter(|distance| *distance < letters.len());
        if let Some(distance) = found
            && best.is_none_or(|best| (distance, other) < best)
        {
            farthest = distance;
            best = Some((distance, other));
        }
    }
    best.map(|(_, other)| other)
}

fn listed<'k>(known: impl Iterator<Item = &'k str> + Clone) -> String {
    let shown: Vec<_> = known.clone().take(LISTED).map(|word| format!("`{word}`")).collect();
    match known.skip(LISTED).count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
///
/// `None` if they are more than `farthest`; most words are found to be too far after a few letters.
fn distance(from: &[char], to: &[char], farthest: usize) -> Option<usize> {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, character) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(character != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *character == to[column - 1] && from[row - 1] == *other {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        // A swap reaches back two rows, so both must be beyond hope.
        if last.iter().chain(&before_last).all(|distance| *distance > farthest) {
            return None;
        }
    }
    Some(last[to.len()]).filter(|distance| *distance <= farthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(from: &str, to: &str) -> Option<usize> {
        distance(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>(), 9)
    }

    #[test]
    fn the_distance_counts_single_slips_of_the_pen() {
        assert_eq!(between("slots", "slots"), Some(0));
        assert_eq!(between("slot", "slots"), Some(1));
        assert_eq!(between("solts", "slots"), Some(1));
        assert_eq!(between("", "slots"), Some(5));
        assert_eq!(between("user", "group"), Some(5));
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["user", "group", "anyone"];
        assert_eq!(suggest("gruop", known.into_iter(), "known"), "did you mean `group`?");
        assert_eq!(
            suggest("colour", known.into_iter(), "known"),
            "known: `user`, `group`, `anyone`"
        );
        assert_eq!(suggest("x", [].into_iter(), "known"), "none is declared");
    }

    #[test]
    fn a_word_of_others_stands_for_ours() {
        let known = ["id", "user", "group"];
        let said = |word| suggest(word, known.into_iter(), "known");
        assert_eq!(said("uid"), "did you mean `user`?");
        assert_eq!(said("gid"), "did you mean `group`?");
        assert_eq!(said("idd"), "did you mean `id`?");
        assert!(!is_meant("uid", "id", known.into_iter()));
        assert_eq!(suggest("uid", ["id"].into_iter(), "known"), "did you mean `id`?");
    }

    #[test]
    fn a_long_list_is_cut() {
        let known: Vec<String> =
            (0..30).map(|number| format!("a-rather-long-word-{number}")).collect();
        assert!(suggest("x", known.iter().map(String::as_str), "known").ends_with("and 6 more"));
    }
}
