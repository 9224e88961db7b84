//! Moments in time, as rules and tests name them. This crate never asks the clock: the caller
//! passes the time.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

/// When a rule counts: from a moment on, and before another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Validity {
    /// It counts from here on; `None` is always.
    pub from: Option<Moment>,
    /// It no longer counts from here on; `None` is never.
    pub until: Option<Moment>,
}

/// The text is no date and time with an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMoment;

const BILLION: u32 = 1_000_000_000;
/// The beginning of 1970. Not a time stamp of that crate, which ends a day before the year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl Moment {
    /// The moment this long after the beginning of 1970 in UTC. Nanoseconds beyond a second are added to the seconds.
    #[must_use]
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        let carried = (nanoseconds / BILLION) as i64;
        Self { seconds: seconds.saturating_add(carried), nanoseconds: nanoseconds % BILLION }
    }

    /// Whole seconds since the beginning of 1970 in UTC.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the whole second.
    #[must_use]
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

impl Validity {
    /// Whether it counts at a moment.
    #[must_use]
    pub fn holds_at(&self, at: Moment) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Whether it has a beginning or an end.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let new = |since: Duration| {
            let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            Self::new(seconds, since.subsec_nanos())
        };
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => new(since),
            Err(before) => {
                let Self { seconds, nanoseconds } = new(before.duration());
                match nanoseconds {
                    0 => Self::new(-seconds, 0),
                    nanoseconds => Self::new(-seconds - 1, BILLION - nanoseconds),
                }
            }
        }
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let pieces = Pieces::parse(text).map_err(|_| NotAMoment)?;
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else {
            return Err(NotAMoment);
        };
        let since = pieces.date().to_datetime(time).duration_since(EPOCH);
        let whole = since.as_nanos().div_euclid(BILLION.into()) - i128::from(offset.seconds());
        let rest = since.as_nanos().rem_euclid(BILLION.into());
        let seconds = i64::try_from(whole).map_err(|_| NotAMoment)?;
        Ok(Self::new(seconds, u32::try_from(rest).map_err(|_| NotAMoment)?))
    }
}

impl fmt::Display for Moment {
    /// As in `2026-12-31T23:00:00Z`; outside the years 0 to 9999 the seconds since 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i32::try_from(self.nanoseconds).map_err(|_| fmt::Error)?;
        let since = SignedDuration::new(self.seconds, nanoseconds);
        match EPOCH.checked_add(since) {
            Ok(datetime) => write!(f, "{datetime}Z"),
            Err(_) => write!(f, "@{}", self.seconds),
        }
    }
}

impl fmt::Display for NotAMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date and time with an offset, such as 2026-12-31T23:00:00+01:00")
    }
}

impl std::error::Error for NotAMoment {}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn a_text_is_the_seconds_that_date_says() {
        // From `date -u -d TEXT +%s`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-12-31T23:59:59Z", 1_798_761_599),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(moment(text), Moment::new(seconds, 0), "{text}");
            assert_eq!(moment(text).to_string(), text);
        }
    }

    #[test]
    fn an_offset_is_taken_off_and_fractions_are_kept() {
        assert_eq!(moment("2026-01-01T01:30:00+01:30"), moment("2026-01-01T00:00:00Z"));
        assert_eq!(moment("2025-12-31 19:00:00-05:00"), moment("2026-01-01T00:00:00Z"));
        assert_eq!(moment("1970-01-01T00:00:01.25Z"), Moment::new(1, 250_000_000));
        assert_eq!(moment("1970-01-01T00:00:01.25Z").to_string(), "1970-01-01T00:00:01.25Z");
    }

    #[test]
    fn every_day_of_a_millennium_reads_back() {
        for day in (-146_097..2 * 146_097).step_by(7) {
            let moment = Moment::new(day * DAY + 3600, 0);
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }

    #[test]
    fn what_has_no_offset_is_no_moment() {
        for text in
            ["", "now", "2026-01-01", "2026-01-01T00:00:00", "00:00:00", "2026-02-30T00:00:00Z"]
        {
            assert_eq!(text.parse::<Moment>(), Err(NotAMoment), "{text}");
        }
    }

    #[test]
    fn the_clock_of_the_system_is_read_also_before_1970() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(Moment::from(before), Moment::new(-2, 500_000_000));
        assert_eq!(
            Moment::from(SystemTime::UNIX_EPOCH - Duration::from_secs(2)),
            Moment::new(-2, 0)
        );
        assert_eq!(Moment::from(SystemTime::UNIX_EPOCH), Moment::new(0, 0));
    }

    #[test]
    fn a_beginning_counts_and_an_end_does_not() {
        let at = |seconds| Moment::new(seconds, 0);
        let validity = Validity { from: Some(at(3)), until: Some(at(5)) };
        let holding: Vec<_> = (0..8).filter(|seconds| validity.holds_at(at(*seconds))).collect();
        assert_eq!(holding, [3, 4]);
        assert!(Validity::default().holds_at(at(i64::MIN)));
    }

    #[test]
    fn nanoseconds_beyond_a_second_are_added_to_the_seconds() {
        let moment = Moment::new(3, 2_500_000_000);
        assert_eq!((moment.seconds(), moment.nanoseconds()), (5, 500_000_000));
        assert_eq!(Moment::new(3, 999_999_999).seconds(), 3);
    }
}
