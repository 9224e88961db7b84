//! Names, looked up within a bound: a name service that does not answer keeps nobody waiting for long.
//!
//! Where it fails or does not answer, an account in the machine's own files is known all the same.

use std::cell::Cell;
use std::time::{Duration, Instant};

use fdbroker_policy::{Gid, LookupError, Names, Uid};

use super::local_files::in_local_files;
use super::question::{Answer, Entry, Question};

/// How long one lookup may take.
const LONGEST: Duration = Duration::from_secs(5);
/// How long all lookups of one load together may take that do not end in time.
const ALL: Duration = Duration::from_secs(10);

/// What is asked, and waited for.
pub trait NameService {
    /// Returns its answer; `None` if there is none within that time.
    fn ask(&self, question: &Question, within: Duration) -> Option<Answer>;
}

/// Something that looks up names and accounts.
pub trait Lookup: Names {
    /// Looks something up, within a bound.
    ///
    /// # Errors
    /// [`LookupError`] where nobody can tell.
    fn look_up(&self, question: &Question) -> Answer;
}

/// A name service within bounds, for one load of a policy.
#[derive(Debug)]
pub struct BoundedNames<S> {
    service: S,
    /// What is left of the time for lookups that do not end.
    left: Cell<Duration>,
}

impl<S> BoundedNames<S> {
    /// One that has not been asked yet.
    pub fn new(service: S) -> Self {
        Self { service, left: Cell::new(ALL) }
    }
}

impl<S: Default> Default for BoundedNames<S> {
    fn default() -> Self {
        Self::new(S::default())
    }
}

impl<S: NameService> BoundedNames<S> {
    fn ask(&self, question: &Question) -> Answer {
        let within = self.left.get().min(LONGEST);
        let began = Instant::now();
        let answer = if within.is_zero() { None } else { self.service.ask(question, within) };
        answer.unwrap_or_else(|| {
            self.left.set(self.left.get().saturating_sub(began.elapsed()));
            Err(LookupError("the name service does not answer".to_owned()))
        })
    }
}

impl<S: NameService> Lookup for BoundedNames<S> {
    fn look_up(&self, question: &Question) -> Answer {
        if !question.is_possible() {
            return Ok(None);
        }
        self.ask(question).or_else(|error| in_local_files(question).map(Some).ok_or(error))
    }
}

impl<S: NameService> Names for BoundedNames<S> {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        Ok(self.number(&Question::User(name.to_owned()))?.map(Uid))
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        Ok(self.number(&Question::Group(name.to_owned()))?.map(Gid))
    }
}

impl<S: NameService> BoundedNames<S> {
    fn number(&self, question: &Question) -> Result<Option<u32>, LookupError> {
        Ok(self.look_up(question)?.map(|Entry { id, .. }| id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers nothing, for as long as it may.
    struct Silent(Cell<Duration>);

    impl NameService for Silent {
        fn ask(&self, _: &Question, within: Duration) -> Option<Answer> {
            self.0.set(self.0.get() + within);
            None
        }
    }

    #[test]
    fn one_that_does_not_answer_leaves_the_accounts_of_the_machine() {
        let names = BoundedNames::new(Silent(Cell::default()));
        assert_eq!(names.user("root"), Ok(Some(Uid(0))));
        assert_eq!(names.group("root"), Ok(Some(Gid(0))));
        assert!(names.user("no-such-user-here").unwrap_err().0.contains("does not answer"));
        assert_eq!(names.user(""), Ok(None));
    }

    #[test]
    fn all_lookups_together_are_bounded() {
        let names = BoundedNames::new(Silent(Cell::default()));
        names.left.set(Duration::ZERO);
        assert!(names.user("no-such-user-here").is_err());
        assert_eq!(names.service.0.get(), Duration::ZERO, "it was not asked");
        let names = BoundedNames::new(Silent(Cell::default()));
        assert!(names.user("no-such-user-here").is_err());
        assert_eq!(names.service.0.get(), LONGEST);
    }
}
