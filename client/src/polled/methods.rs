//! A method of [`Polled`] for each request of the table.

use super::{Polled, Ticket};
use crate::request::table::names::*;
use crate::request::table::requests;

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])*
        #[errors = $errors:literal]
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty as $outcome:ident {
            $request:expr
        }
    )*) => {
        /// # The requests
        impl Polled {$(
            $(#[doc = $doc])*
            ///
            #[doc = concat!(
                "The answer is [`Outcome::", stringify!($outcome),
                "`](crate::Outcome::", stringify!($outcome), ")."
            )]
            ///
            /// # Errors of the answer
            #[doc = $errors]
            pub fn $name(&mut self, $($argument: $type),*) -> Ticket {
                self.ask($request)
            }
        )*}
    };
}

requests!(methods);
