//! Whether a broker that takes over has room for all descriptors that it gets.

/// How many descriptors it has beside those that it takes over.
const OWN: u64 = 128;

/// Looks whether so many descriptors fit into a table of so many entries.
///
/// # Errors
/// What to do, if they do not.
pub(crate) fn has_room_for(descriptors: u32, limit: u64) -> Result<(), String> {
    let needed = u64::from(descriptors) + OWN;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "it has {descriptors} descriptors to hand over, and the new broker may have {limit}: it needs {needed}; raise its \
         `ulimit -Hn`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_told_with_the_broker_s_own_descriptors() {
        assert!(has_room_for(100, 228).is_ok());
        let why = has_room_for(101, 228).unwrap_err();
        assert!(why.contains("101") && why.contains("228") && why.contains("229"), "{why}");
        assert!(has_room_for(u32::MAX, u64::MAX).is_ok());
    }
}
