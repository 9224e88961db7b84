//! A round after the other: the broker ends and comes back, and everything is as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use fdbroker_tests::traffic::program::Program;
use fdbroker_tests::traffic::service::Start;

use super::held::Held;
use super::serving::Serving;
use super::site::{Site, THINGS};

/// How often each way has its turn, if nothing else is said.
const TIMES: usize = 2;

/// How often each way has its turn.
pub(super) fn times() -> usize {
    match std::env::var("FDBROKER_ROUNDS") {
        Ok(times) => times.parse().expect("FDBROKER_ROUNDS is a number"),
        Err(_) => TIMES,
    }
}

/// All rounds of a broker.
pub(super) struct Course<'a> {
    site: &'a Site<'a>,
    held: Held,
    serving: Serving,
    asker: Program,
    rounds: usize,
    pauses: BTreeMap<&'static str, Vec<Duration>>,
}

impl<'a> Course<'a> {
    #[track_caller]
    pub(super) fn begin(site: &'a Site<'a>) -> Self {
        let held = Held::begin(site);
        let serving = Serving::begin(site);
        let mut asker = site.program(&["ask", site.socket(), &format!("{THINGS}/0")]);
        asker.answer::<u32>();
        Self { site, held, serving, asker, rounds: 0, pauses: BTreeMap::new() }
    }

    /// One round: `change` ends the broker and waits for the next one. In each third round the service is started again
    /// too, and the broker alone has its connections.
    #[track_caller]
    pub(super) fn round(&mut self, way: &'static str, change: impl FnOnce()) {
        let restart = match self.rounds % 6 {
            2 => Some(Start::AfterStop),
            5 => Some(Start::AfterKill),
            _ => None,
        };
        eprintln!("round {}: {way}{}", self.rounds, restart.map_or("", |_| ", and the service"));
        restart.into_iter().for_each(|how| self.serving.end(how));
        self.site.is_mirrored();
        self.asker.ask::<u64>("longest");
        change();
        restart.into_iter().for_each(|how| self.serving.begin_again(self.site, how));
        let mut stranger = self.held.stranger(self.site);
        self.serving.check();
        self.held.check(self.site);
        self.serving.goes_on();
        self.serving.loses_no_byte();
        assert!(!stranger.is_answered(Duration::ZERO), "the service is not the owner any more");
        let pause = Duration::from_micros(self.asker.ask("longest"));
        self.pauses.entry(way).or_default().push(pause);
        self.rounds += 1;
    }

    /// Prints how long a client waited at most in each round.
    pub(super) fn tell(&mut self) {
        println!("{:<28} {:>6} {:>9} {:>9}", "pause of a client, ms", "rounds", "p50", "max");
        for (way, pauses) in &mut self.pauses {
            pauses.sort();
            let at = |part: usize| pauses[(pauses.len() - 1) * part / 2].as_secs_f64() * 1e3;
            println!("{way:<28} {:>6} {:>9.1} {:>9.1}", pauses.len(), at(1), at(2));
        }
    }
}
