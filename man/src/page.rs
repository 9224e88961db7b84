//! What all pages are made of.

use roff::{Roff, bold, roman};

/// A manual page, or another file that is made from the command lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its file in `man/`, such as `fdbroker.1`.
    pub file: String,
    /// What is in it; a page is in roff.
    pub text: String,
}

impl Page {
    /// A page of this name and section, with what follows its title.
    pub(crate) fn new(name: &str, section: u8, body: &[String]) -> Self {
        let version = concat!("fdbroker ", env!("CARGO_PKG_VERSION"));
        let mut roff = Roff::new();
        roff.control(
            "TH",
            [name, &section.to_string(), NO_DATE, version, "File-descriptor broker"],
        );
        roff.control("nh", []).control("ad", ["l"]);
        let text = format!("{ORIGIN}{}{}", roff.render(), without_idle_breaks(&body.concat()));
        Self { file: format!("{name}.{section}"), text }
    }
}

/// An argument that is there and empty: a date would be one more thing to change with each page.
const NO_DATE: &str = "\"\"";
const ORIGIN: &str = ".\\\" Made by `REWRITE=1 cargo test -p fdbroker-man`; not to be edited.\n";

/// The text without the paragraphs that begin right behind a heading, which begins one itself.
fn without_idle_breaks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut before = "";
    for line in text.lines() {
        if line != ".PP" || !before.starts_with(".S") {
            kept.extend([line, "\n"]);
        }
        before = line;
    }
    kept
}

/// A part of a page, without what the page as a whole begins with.
pub(crate) fn part(roff: &Roff) -> String {
    let (beginning, text) = (Roff::new().render(), roff.render());
    text.strip_prefix(&beginning).unwrap_or(&text).to_owned()
}

/// A heading: `SH` for a section, `SS` within one.
pub(crate) fn heading(roff: &mut Roff, level: &str, text: &str) {
    let text = text.replace('\\', "\\e").replace('"', "\\(dq").replace('-', "\\-");
    roff.control(level, [text.as_str()]);
}

/// Lines as they are, indented.
pub(crate) fn verbatim<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("PP", []).control("RS", ["4"]).control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("RE", []);
}

/// A paragraph in bold.
pub(crate) fn strong(roff: &mut Roff, text: &str) {
    roff.control("PP", []).text([bold(text)]);
}

/// The section NAME, which whatis(1) reads.
pub(crate) fn name(name: &str, about: &str) -> String {
    let mut roff = Roff::new();
    heading(&mut roff, "SH", "NAME");
    let (first, rest) = about.split_at_checked(1).unwrap_or_default();
    roff.text([roman(format!("{name} - {}{rest}", first.to_lowercase()))]);
    part(&roff)
}

/// The section SEE ALSO: pages with their section, such as `fdbroker(1)`.
pub(crate) fn see_also(pages: &[&str]) -> String {
    let mut roff = Roff::new();
    heading(&mut roff, "SH", "SEE ALSO");
    let pages: Vec<_> = pages
        .iter()
        .map(|page| {
            let (name, section) = page.split_at(page.find('(').unwrap_or(page.len()));
            vec![bold(name), roman(section)]
        })
        .collect();
    roff.text(pages.join(&roman(", ")));
    part(&roff)
}
