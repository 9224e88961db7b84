//! A field of a connection's payload.

use std::ffi::CStr;

use fdbroker::Connection;

use crate::errno::Errno;

/// Returns the value of a field.
pub(crate) fn field<'a>(payload: &'a [u8], name: &CStr) -> Result<&'a [u8], Errno> {
    let connection = Connection::parse(payload).ok_or(Errno::INVAL)?;
    let name = name.to_str().map_err(|_| Errno::NOENT)?;
    connection.get(name).ok_or(Errno::NOENT)
}
