//! What an operator may see all of: the commands that ask for it, and what they have in common.

mod age;
mod object;
pub(crate) mod quota;
pub(crate) mod sessions;
mod users;

pub(crate) use age::age;
pub(crate) use object::Object;
pub(crate) use users::UserNames;
