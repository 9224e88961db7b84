//! Measuring several things in turns, so that what disturbs one disturbs all.

use std::time::Instant;

use crate::Effort;

/// Something that is measured; the first one is what the others are compared with.
pub struct Subject<'a> {
    name: String,
    exchange: Box<dyn FnMut() + 'a>,
    aim: Option<f64>,
    /// The mean of each turn, in microseconds.
    turns: Vec<f64>,
}

impl<'a> Subject<'a> {
    /// Something to be done again and again.
    pub fn new(name: &str, exchange: impl FnMut() + 'a) -> Self {
        Self { name: name.to_owned(), exchange: Box::new(exchange), aim: None, turns: Vec::new() }
    }

    /// How many times the first one's time it may take.
    pub fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }

    fn turn(&mut self, exchanges: u32) -> f64 {
        let start = Instant::now();
        for _ in 0..exchanges {
            (self.exchange)();
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(exchanges)
    }
}

/// Gives each subject its turn, round by round; the first round only warms up.
pub fn in_turns(subjects: &mut [Subject<'_>], effort: &Effort, between: impl Fn()) {
    for round in 0..=effort.rounds {
        for subject in &mut *subjects {
            let took = subject.turn(effort.exchanges);
            if round > 0 {
                subject.turns.push(took);
            }
        }
        between();
    }
}

/// Prints the median time of each subject, and the median over the rounds of its ratio to the
/// first; with enough rounds to mean something, also whether that is what it was to be.
pub fn print(subjects: &[Subject<'_>]) {
    println!("  {:<42} {:>9} {:>7}", "", "µs", "ratio");
    for subject in subjects {
        let ratios = subject.turns.iter().zip(&subjects[0].turns).map(|(own, first)| own / first);
        let (time, ratio) = (median(subject.turns.clone()), median(ratios.collect()));
        let aim = match subject.aim {
            None => String::new(),
            Some(_) if subject.turns.len() < ENOUGH => String::new(),
            Some(aim) => {
                format!("  aim {aim:.2}: {}", if ratio <= aim { "reached" } else { "missed" })
            }
        };
        println!("  {:<42} {time:>9.2} {ratio:>7.2}{aim}", subject.name);
    }
}

/// How many rounds it takes to judge.
const ENOUGH: usize = 11;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
