//! Descriptors that are counted: none may be lost, none may be given twice.

use std::cell::Cell;
use std::rc::Rc;

/// How many descriptors there are.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    live: Rc<Cell<usize>>,
    next: Rc<Cell<u32>>,
}

/// Stands for a descriptor; has a number of its own.
#[derive(Debug)]
pub struct Token {
    /// Counted from 0, in the order in which they were made.
    pub number: u32,
    live: Rc<Cell<usize>>,
}

impl Ledger {
    /// New descriptors.
    pub fn tokens(&self, count: usize) -> Vec<Token> {
        (0..count).map(|_| self.token()).collect()
    }

    fn token(&self) -> Token {
        let number = self.next.replace(self.next.get() + 1);
        self.live.set(self.live.get() + 1);
        Token { number, live: Rc::clone(&self.live) }
    }

    /// How many have not been closed.
    pub fn live(&self) -> usize {
        self.live.get()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Token {}
