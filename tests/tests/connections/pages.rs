//! What docs/connections.md shows.

use std::path::Path;

/// The first block of this language after a heading of docs/connections.md.
pub fn example(heading: &str, language: &str) -> String {
    example_of("connections.md", heading, language)
}

/// The same of another page.
pub fn example_of(page: &str, heading: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split(&format!("{heading}\n")).nth(1).expect("the heading is there");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("the block is there");
    block.split("```").next().unwrap().to_owned()
}
