//! The files of this repository: what the pages say is so, in plain words, and the sources hang together
//! as they should.
//!
//! - [`layers`]: no file takes something from one that needs it
//! - [`named`]: tests and source files that the documentation names
//! - [`pages`]: policies, commands, options and links of the documentation
//! - [`tables`]: rows of tables that have all cells of their heads
//! - [`words`]: plain words in pages and messages

mod layers;
mod named;
mod pages;
mod tables;
mod words;
