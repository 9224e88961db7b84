//! How long a session waits for room in the descriptor table: what it sent before may still have to be
//! closed, but that does not take long.

use std::time::Duration;

use tokio::time::sleep;

/// How often a session looks again, and after which pause: a second.
const MOST_PAUSES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// One wait for room.
#[derive(Default)]
pub(crate) struct RoomWait {
    pauses: u32,
}

impl RoomWait {
    /// Pauses before the session looks again. Returns `false` at once if it has looked for a second.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.pauses == MOST_PAUSES {
            return false;
        }
        self.pauses += 1;
        sleep(PAUSE).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_after_a_second() {
        let (start, mut wait) = (Instant::now(), RoomWait::default());
        while wait.pause().await {}
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert!(!wait.pause().await);
    }
}
