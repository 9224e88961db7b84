//! How a number is written in `tag/7` or `1/0`.

/// Returns the number that `text` is: decimal digits, without sign, space or leading zero.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_number_is_digits_without_sign_space_or_leading_zero() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("120"), Some(120));
        for junk in ["", "+1", "-1", " 1", "1 ", "01", "1_0", "0x1", "99999999999999999999"] {
            assert_eq!(decimal(junk), None, "{junk:?}");
        }
    }
}
