//! The payload of an upgrader's deposit: whatever reads as one is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(written) = fdbroker::fuzzing::payload(data) {
        assert!(written.len() <= data.len(), "it grew");
        let again = fdbroker::fuzzing::payload(&written).expect("what was written can be read");
        assert_eq!(again, written);
    }
});
