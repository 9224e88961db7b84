//! A sequence of named values: the payload of a connection, and the job of a helper.
//!
//! Each is the length of the name (`u16`), the length of the value (`u16`), the name and the value. Reading
//! takes no memory and never panics, whatever the bytes are.

/// A name and its value.
pub type Field<'a> = (&'a str, &'a [u8]);

/// The longest name, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = u16::MAX as usize;

/// The name or the value of a field is too long, or the name has other characters than the visible ones of ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAField;

/// Appends a field.
///
/// # Errors
/// [`NotAField`], and nothing was appended.
pub fn push(bytes: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), NotAField> {
    let lengths = (u16::try_from(name.len()), u16::try_from(value.len()));
    let ((Ok(name_length), Ok(value_length)), true) = (lengths, is_name(name.as_bytes())) else {
        return Err(NotAField);
    };
    bytes.extend_from_slice(&name_length.to_ne_bytes());
    bytes.extend_from_slice(&value_length.to_ne_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value);
    Ok(())
}

/// Returns how many bytes a field takes.
#[must_use]
pub const fn size(name: &str, value: &[u8]) -> usize {
    2 * size_of::<u16>() + name.len() + value.len()
}

/// Reads the fields, from the front. What is no field ends them with `None`, once.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the fields of these bytes.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let (name_length, rest) = self.0.split_first_chunk()?;
        let (value_length, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(u16::from_ne_bytes(*name_length).into())?;
        let (value, rest) = rest.split_at_checked(u16::from_ne_bytes(*value_length).into())?;
        let name = str::from_utf8(name).ok().filter(|name| is_name(name.as_bytes()))?;
        self.0 = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut bytes = Vec::new();
        push(&mut bytes, "a", b"").unwrap();
        push(&mut bytes, "a", b"\0\xff").unwrap();
        assert_eq!(bytes.len(), size("a", b"") + size("a", b"\0\xff"));
        let read: Option<Vec<_>> = Fields::of(&bytes).collect();
        assert_eq!(read, Some(vec![("a", &b""[..]), ("a", b"\0\xff")]));
    }

    #[test]
    fn what_is_no_field_is_not_written() {
        let mut bytes = Vec::new();
        for name in ["", "a b", "ä", "a\n", &"n".repeat(MAX_NAME + 1)] {
            assert_eq!(push(&mut bytes, name, b""), Err(NotAField), "{name}");
        }
        assert_eq!(push(&mut bytes, "a", &vec![0; MAX_VALUE + 1]), Err(NotAField));
        assert!(bytes.is_empty());
    }

    #[test]
    fn bytes_that_are_cut_end_with_none_once() {
        let mut bytes = Vec::new();
        push(&mut bytes, "name", b"value").unwrap();
        for length in 1..bytes.len() {
            let read: Vec<_> = Fields::of(&bytes[..length]).collect();
            assert_eq!(read, [None], "{length}");
        }
    }
}
