//! The parts of a packet's body, from the front.

/// What is left of a body.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next so many bytes.
    pub(super) fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*found)
    }

    /// Takes a text that ends with a NUL, without it.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// Takes a number of one to nine bytes, whatever it is.
    pub(super) fn skip_number(&mut self) -> Option<()> {
        let [first] = self.array()?;
        let more = match first {
            0..=0xfa => 0,
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            0xfb | 0xff => return None,
        };
        self.0 = self.0.get(more..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_from_the_front() {
        let mut body = Reader(b"\x01\x02me\0rest");
        assert_eq!(body.array(), Some([1, 2]));
        assert_eq!(body.text(), Some(&b"me"[..]));
        assert_eq!((body.text(), body.array::<5>(), body.0), (None, None, &b"rest"[..]));
    }

    #[test]
    fn a_number_has_as_many_bytes_as_its_first_says() {
        for (body, left) in [
            (&b"\xfa-"[..], Some(1)),
            (b"\xfc12-", Some(1)),
            (b"\xfd123-", Some(1)),
            (b"\xfe12345678-", Some(1)),
            (b"\xfe1234567", None),
            (b"\xfb-", None),
            (b"\xff-", None),
            (b"", None),
        ] {
            let mut reader = Reader(body);
            assert_eq!(reader.skip_number().map(|()| reader.0.len()), left, "{body:?}");
        }
    }
}
