//! Which program a process is of, so that it does not take over another program's tag by mistake.
//!
//! The name is noted with each deposit. Unless the program says its name, it is that of its executable, without a version
//! at the end.

use std::env::current_exe;

/// The names of this program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    said: Option<String>,
    executable: Option<String>,
}

impl Program {
    /// This program, with the name that it has said.
    pub(crate) fn this(said: Option<String>) -> Self {
        Self { said, executable: executable() }
    }

    /// The name that is noted; `None` if the system does not tell it.
    pub(crate) fn name(&self) -> Option<&str> {
        self.said.as_deref().or(self.executable.as_deref())
    }

    /// Whether a name that was noted is another program's. A program that only now says its name goes on with what it
    /// has noted under the name of its executable.
    pub(crate) fn is_another(&self, noted: &str) -> bool {
        let mut own = [&self.said, &self.executable].into_iter().flatten().peekable();
        own.peek().is_some() && own.all(|own| own != noted)
    }
}

fn executable() -> Option<String> {
    let path = current_exe().ok()?;
    let name = path.file_name()?.to_string_lossy();
    // So the kernel calls a file that was replaced since.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    Some(without_version(name).to_owned())
}

/// The name before the first `-`, `_` or `.` that a number follows, also with a `v` between them.
fn without_version(name: &str) -> &str {
    let is_version = |rest: &str| {
        let rest = rest.strip_prefix(['-', '_', '.']).unwrap_or_default();
        rest.strip_prefix('v').unwrap_or(rest).starts_with(|first: char| first.is_ascii_digit())
    };
    let ends = name.char_indices().skip(1).map(|(end, _)| name.split_at(end));
    ends.into_iter().find(|(_, rest)| is_version(rest)).map_or(name, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_at_the_end_does_not_count() {
        for name in ["shop", "shop-1.2.3", "shop-v2", "shop_10", "shop.2", "shop-1-x86_64"] {
            assert_eq!(without_version(name), "shop");
        }
        for whole in ["", "-1", "shop2", "shop-next", "shop.new", "shop-", "größe", "v2"] {
            assert_eq!(without_version(whole), whole);
        }
        assert_eq!(without_version("web-shop-2"), "web-shop");
    }

    #[test]
    fn a_program_is_known_by_what_it_says_and_by_its_executable() {
        let program = |said: Option<&str>, executable: Option<&str>| Program {
            said: said.map(Into::into),
            executable: executable.map(Into::into),
        };
        let shop = program(Some("shop"), Some("worker"));
        assert_eq!(shop.name(), Some("shop"));
        assert!(
            !shop.is_another("shop") && !shop.is_another("worker") && shop.is_another("billing")
        );
        assert!(program(None, Some("worker")).is_another("shop"));
        assert!(!program(None, None).is_another("shop"), "nobody knows");
    }
}
