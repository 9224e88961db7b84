//! How long something has been there, for people: `45s`, `12m`, `7h`, `3d`.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Rounded down to the largest unit of which there are two or more, or to seconds.
pub(crate) fn age(seconds: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_says_enough() {
        let told = [0, 119, 120, 7199, 7200, 2 * DAY - 1, 2 * DAY, 400 * DAY];
        let told = told.map(age);
        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h", "47h", "2d", "400d"]);
    }
}
