//! The signals that the supervisor heeds, and what each asks for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT, SIGQUIT and SIGHUP.
pub(crate) struct Signals {
    stops: Stops,
    hangup: Signal,
}

/// Those by which the broker is told to stop.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignalOrder {
    /// The broker is to stop.
    Stop,
    /// The policy is to be read again.
    Reload,
}

impl Signals {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// As sigaction(2).
    pub(crate) fn heed() -> io::Result<Self> {
        let stops = Stops {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        };
        Ok(Self { stops, hangup: signal(SignalKind::hangup())? })
    }

    /// Waits for a signal. Can be dropped.
    pub(crate) async fn next(&mut self) -> SignalOrder {
        tokio::select! {
            biased;
            () = self.stops.next() => SignalOrder::Stop,
            _ = self.hangup.recv() => SignalOrder::Reload,
        }
    }

    /// Waits until the broker is told to stop. Another signal is kept for later. Can be dropped.
    pub(crate) async fn stop(&mut self) {
        self.stops.next().await;
    }
}

impl Stops {
    /// Waits for any of them. Can be dropped.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}
