//! Tables of the pages: a row with another number of cells than its head loses some where it is shown.

use crate::pages::{pages, read};

/// The number of cells of a row; bars in code do not count.
fn cells(row: &str) -> usize {
    let outside = row.split('`').step_by(2).collect::<String>();
    outside.replace("\\|", "").matches('|').count()
}

#[test]
fn each_row_of_a_table_has_the_cells_of_its_head() {
    let mut wrong = Vec::new();
    for page in pages() {
        let mut head = None;
        for (number, line) in read(&page).lines().enumerate() {
            if line.starts_with("| ---") || line.starts_with("|---") {
                head = Some(cells(line));
            } else if !line.starts_with('|') {
                head = None;
            } else if head.is_some_and(|head| head != cells(line)) {
                wrong.push(format!("{}:{}", page.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
