//! Numbers with their nouns, for messages.

use std::fmt::Display;

/// Returns a number with its noun, in the plural unless it is one: `1 record`, `2 records`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_the_singular() {
        assert_eq!(counted(0_u32, "audit record"), "0 audit records");
        assert_eq!(counted(1_u64, "audit record"), "1 audit record");
        assert_eq!(counted(2_usize, "audit record"), "2 audit records");
    }
}
