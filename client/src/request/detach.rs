//! The requests that borrow nothing, so that they outlive the call that makes them as they are.

use std::io;

use crate::request::Detach;
use crate::request::claim::{Claim, OfClaimed};
use crate::request::many::{DelMany, GetMany};
use crate::request::pages::Pages;
use crate::request::slot::{Del, Get, HowMuch};
use crate::request::version2::{Find, Greet, List, Operate};

macro_rules! detach_as_they_are {
    ($($request:ty),* $(,)?) => {$(
        impl Detach for $request {
            type Detached = Self;

            fn detach(self) -> io::Result<Self> {
                Ok(self)
            }
        }
    )*};
}

detach_as_they_are!(
    Get, Del, HowMuch, GetMany, DelMany, Find, List, Pages, Operate, Greet, Claim, OfClaimed,
);
