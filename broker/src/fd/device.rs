//! Which device a descriptor is, by its status.

use fdbroker_policy::DeviceNumber;
use rustix::fs::{FileType, Stat, major, minor};

/// Returns the number of a character or block device, or `None` if it is neither.
pub(crate) fn number_of(stat: &Stat) -> Option<DeviceNumber> {
    let is_device = matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::CharacterDevice | FileType::BlockDevice
    );
    is_device.then(|| DeviceNumber { major: major(stat.st_rdev), minor: minor(stat.st_rdev) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::fstat;

    use super::*;

    #[test]
    fn a_device_has_a_number_and_nothing_else_has() {
        let number = |path| number_of(&fstat(File::open(path).unwrap()).unwrap());
        assert_eq!(number("/dev/null"), Some(DeviceNumber { major: 1, minor: 3 }));
        assert_eq!(number("/"), None);
    }
}
