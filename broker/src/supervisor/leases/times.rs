//! The times of a lease, as [`Lease`](fdbroker_wire::Lease) has them: they mean the same to the next supervisor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// When a lease begins that begins now, and when it ends at the latest.
pub(crate) fn from_now(ttl: Option<Duration>) -> (u64, Option<u64>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (milliseconds(since), ttl.map(|ttl| milliseconds(clock().saturating_add(ttl))))
}

/// For how long a lease has been held that began then.
pub(super) fn held(since: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(since))
}

/// How long it is until a lease ends.
pub(super) fn left(expires: u64) -> Duration {
    Duration::from_millis(expires).saturating_sub(clock())
}

/// The clock that all processes of this machine share while it runs.
fn clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap_or(0))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_its_time_from_when_it_begins() {
        let hour = Duration::from_secs(3600);
        let (since, expires) = from_now(Some(hour));
        assert!(held(since) < Duration::from_secs(60));
        let left = left(expires.unwrap());
        assert!(left <= hour && left > Duration::from_secs(3540), "{left:?}");
        assert_eq!(from_now(None).1, None);
    }

    #[test]
    fn of_a_time_that_is_over_nothing_is_left() {
        let (_, expires) = from_now(Some(Duration::ZERO));
        assert!(left(expires.unwrap()).is_zero() && left(0).is_zero());
    }
}
