//! The lines of one answer to INSPECT.

use fdbroker_wire::version2::MAX_REPORT;
use serde::Serialize;

/// As many lines as one report has room for.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
    pub(super) lines: usize,
}

impl Page {
    /// Takes another line; or says no, if there is no room for it.
    pub(super) fn push(&mut self, line: &impl Serialize) -> bool {
        // It fails for what no line has: keys that are no text.
        let Ok(line) = serde_json::to_string(line) else { return true };
        let fits = self.text.len() + line.len() < MAX_REPORT;
        if fits {
            self.text.push_str(&line);
            self.text.push('\n');
            self.lines += 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_whole_lines_and_no_more_than_a_report() {
        let mut page = Page::default();
        let line = "x".repeat(1000);
        while page.push(&line) {}
        assert!(page.text.len() <= MAX_REPORT && page.text.len() > MAX_REPORT - 1100);
        assert_eq!(page.text.lines().count(), page.lines);
        assert!(page.text.ends_with('\n'));
    }
}
