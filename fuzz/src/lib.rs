//! What the fuzz targets share: how their input is read, and descriptors that are counted.
//!
//! A target takes its decisions from the front of the input; the rest is the bytes of the thing
//! itself. So a corpus of real messages or policies is a good beginning. When the input has ended,
//! every further decision is the smallest.

mod input;
mod ledger;
#[path = "../../tests/src/model/ownership.rs"]
pub mod ownership_model;
mod policy_text;

pub use input::Input;
pub use ledger::{Ledger, Token};
pub use policy_text::policy_text;
