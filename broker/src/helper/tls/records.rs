//! Where the records of TLS end in what is received, so that nothing is left in the middle of one.

/// How long the head of a record is: its type, a version, and its length.
const HEAD: usize = 5;

/// How far a record has come.
#[derive(Default)]
pub(super) struct Records {
    /// What has come of a head.
    head: Vec<u8>,
    /// How much has not come of what follows it.
    missing: usize,
}

impl Records {
    /// These bytes have been received.
    pub(super) fn note(&mut self, mut bytes: &[u8]) {
        while let Some((first, others)) = bytes.split_first() {
            if self.missing > 0 {
                let taken = self.missing.min(bytes.len());
                self.missing -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                self.head.push(*first);
                bytes = others;
                self.begin();
            }
        }
    }

    /// Begins the record whose head is complete.
    fn begin(&mut self) {
        if let [_, _, _, high, low] = self.head[..] {
            self.missing = u16::from_be_bytes([high, low]).into();
            self.head.clear();
        }
    }

    /// Returns whether the last one is complete, and no other has begun.
    pub(super) fn is_between(&self) -> bool {
        self.head.is_empty() && self.missing == 0
    }

    /// Returns how many bytes can be received without beginning another record than the next one.
    pub(super) fn until_next(&self) -> usize {
        if self.missing > 0 { self.missing } else { HEAD - self.head.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: [u8; 8] = [23, 3, 3, 0, 3, b'a', b'b', b'c'];

    #[test]
    fn each_byte_of_a_record_is_in_it_but_for_the_last() {
        let mut records = Records::default();
        assert!(records.is_between());
        for (at, byte) in RECORD.into_iter().enumerate() {
            assert_eq!(records.until_next(), if at < HEAD { HEAD - at } else { RECORD.len() - at });
            records.note(&[byte]);
            assert_eq!(records.is_between(), at == RECORD.len() - 1, "{at}");
        }
    }

    #[test]
    fn records_that_come_at_once_are_told_apart() {
        let empty = [22, 3, 3, 0, 0];
        let mut records = Records::default();
        records.note(&[&RECORD[..], &empty, &RECORD[..6]].concat());
        assert!(!records.is_between());
        assert_eq!(records.until_next(), 2);
        records.note(&RECORD[6..]);
        assert!(records.is_between());
        records.note(&empty);
        assert!(records.is_between());
    }
}
