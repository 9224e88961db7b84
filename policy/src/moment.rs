//! Moments in time, as rules and tests name them. This crate never asks the clock: whoever decides brings the time.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use toml_datetime::{Date, Datetime, Offset, Time};

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
const DAY: i64 = 86_400;

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

    /// The moment that a text of the file means; `None` without an offset, which says nothing without a place.
    pub(crate) fn from_datetime(datetime: &Datetime) -> Option<Self> {
        let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = *datetime
        else {
            return None;
        };
        let Time { hour, minute, second, nanosecond } = time;
        let minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let of_day = (i64::from(hour) * 60 + i64::from(minute) - minutes) * 60;
        let seconds = days_since_1970(date) * DAY + of_day + i64::from(second.unwrap_or(0));
        Some(Self::new(seconds, nanosecond.unwrap_or(0)))
    }

    fn datetime(self) -> Option<Datetime> {
        let date = date_after_1970(self.seconds.div_euclid(DAY))?;
        let of_day = self.seconds.rem_euclid(DAY);
        let part = |number: i64| u8::try_from(number).ok();
        let time = Time {
            hour: part(of_day / 3600)?,
            minute: part(of_day / 60 % 60)?,
            second: Some(part(of_day % 60)?),
            nanosecond: Some(self.nanoseconds).filter(|nanoseconds| *nanoseconds != 0),
        };
        Some(Datetime { date: Some(date), time: Some(time), offset: Some(Offset::Z) })
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

/// Days from the first of January 1970 to a date; the calendar of today, also before there was one.
fn days_since_1970(Date { year, month, day }: Date) -> i64 {
    // Years begin in March here, so that the day that a leap year adds is the last of one.
    let (month, year) = (i64::from(month), i64::from(year) - i64::from(month <= 2));
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_OF_ERA + day_of_era - DAYS_BEFORE_1970
}

/// The reverse; `None` outside the years 0 to 9999.
fn date_after_1970(days: i64) -> Option<Date> {
    let days = days.checked_add(DAYS_BEFORE_1970)?;
    let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(Date {
        year: u16::try_from(year).ok().filter(|year| *year <= 9999)?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day).ok()?,
    })
}

/// 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;

/// From the first of March of the year 0.
const DAYS_BEFORE_1970: i64 = 719_468;

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
        let datetime = text.parse().map_err(|_| NotAMoment)?;
        Self::from_datetime(&datetime).ok_or(NotAMoment)
    }
}

impl fmt::Display for Moment {
    /// As in `2026-12-31T23:00:00Z`; outside the years 0 to 9999 the seconds since 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.datetime() {
            Some(datetime) => datetime.fmt(f),
            None => write!(f, "@{}", self.seconds),
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
}
