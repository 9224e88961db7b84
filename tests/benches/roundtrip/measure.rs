//! Measuring several things in turns, so that what disturbs one disturbs all.

use std::time::Instant;

use crate::Effort;

/// Something that is measured; the first one is what the others are compared with.
pub struct Subject<'a> {
    name: String,
    exchange: Box<dyn FnMut() + 'a>,
    aim: Option<Aim>,
    /// The mean of each turn, in microseconds.
    turns: Vec<f64>,
}

/// What a ratio is to be.
#[derive(Clone, Copy)]
enum Aim {
    /// At most so many times the first one's time.
    AtMost(f64),
    /// At least so many times the time of the one before.
    AtLeast(f64),
}

impl<'a> Subject<'a> {
    /// Something to be done again and again.
    pub fn new(name: &str, exchange: impl FnMut() + 'a) -> Self {
        Self { name: name.to_owned(), exchange: Box::new(exchange), aim: None, turns: Vec::new() }
    }

    /// How many times the first one's time it may take.
    pub fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(Aim::AtMost(aim));
        self
    }

    /// How many times the time of the one before it has to take.
    pub fn slower(mut self, aim: f64) -> Self {
        self.aim = Some(Aim::AtLeast(aim));
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

/// Runs each subject in its turn, round by round; the first round only warms up.
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
    for (position, subject) in subjects.iter().enumerate() {
        let (time, ratio) = (median(subject.turns.clone()), ratio(subject, &subjects[0]));
        let aim = judge(subjects, position);
        println!("  {:<42} {time:>9.2} {ratio:>7.2}{aim}", subject.name);
    }
}

/// The same, of subjects that each do something `number` times.
pub fn print_each(subjects: &[Subject<'_>], number: usize) {
    println!("  {:<42} {:>9} {:>9} {:>7}", "", "µs", "µs each", "ratio");
    for (position, subject) in subjects.iter().enumerate() {
        let (time, ratio) = (median(subject.turns.clone()), ratio(subject, &subjects[0]));
        let (each, aim) = (time / number as f64, judge(subjects, position));
        println!("  {:<42} {time:>9.0} {each:>9.2} {ratio:>7.2}{aim}", subject.name);
    }
}

/// Whether a subject has reached its aim.
fn judge(subjects: &[Subject<'_>], position: usize) -> String {
    let subject = &subjects[position];
    let word = |reached| if reached { "reached" } else { "missed" };
    match subject.aim {
        Some(_) if subject.turns.len() < ENOUGH => String::new(),
        Some(Aim::AtMost(aim)) => {
            format!("  aim {aim:.2}: {}", word(ratio(subject, &subjects[0]) <= aim))
        }
        Some(Aim::AtLeast(aim)) => {
            let ratio = ratio(subject, &subjects[position - 1]);
            format!("  {ratio:.1} times the one before, aim {aim:.0}: {}", word(ratio >= aim))
        }
        None => String::new(),
    }
}

/// The median of the ratios, round by round.
fn ratio(subject: &Subject<'_>, other: &Subject<'_>) -> f64 {
    median(subject.turns.iter().zip(&other.turns).map(|(own, other)| own / other).collect())
}

/// How many rounds it takes to judge.
const ENOUGH: usize = 11;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
