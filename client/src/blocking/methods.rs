//! A method of [`Broker`] for each request of the table.

use crate::Broker;
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
        impl Broker {$(
            $(#[doc = $doc])*
            ///
            /// # Errors
            #[doc = $errors]
            pub fn $name(&mut self, $($argument: $type),*) -> Result<$result, Error> {
                self.run($request)
            }
        )*}
    };
}

requests!(methods);
