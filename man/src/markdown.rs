//! Markdown as a part of a manual page.
//!
//! What the project's documents use, and no more: headings, paragraphs, lists, blocks of text as it
//! is, and tables, whose rows become an entry each, since a terminal is too narrow for them.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

use crate::page::{heading, part, verbatim};

/// The text in roff. The heading of the whole document, the first `#`, is left out.
pub(crate) fn render(text: &str) -> String {
    let mut page = Page::default();
    Parser::new_ext(text, Options::ENABLE_TABLES).for_each(|event| page.take(event));
    part(&page.roff)
}

#[derive(Default)]
struct Page {
    roff: Roff,
    /// What the line under way has so far.
    line: Vec<Inline>,
    /// How many of each are open.
    bold: u32,
    italic: u32,
    /// The block of text as it is that is under way.
    block: Option<String>,
    /// A list's entry has begun, and its text comes right behind the bullet.
    at_bullet: bool,
    table: Table,
}

/// The table under way.
#[derive(Default)]
struct Table {
    heads: Vec<String>,
    cells: Vec<Vec<Inline>>,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.block {
                Some(block) => block.push_str(&text),
                None => self.push(&text),
            },
            Event::Code(code) => self.line.push(bold(code.into_string())),
            Event::SoftBreak | Event::HardBreak => self.push(" "),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        self.line.push(match (self.bold, self.italic) {
            (0, 0) => roman(text),
            (0, _) => italic(text),
            _ => bold(text),
        });
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph if !std::mem::take(&mut self.at_bullet) => {
                self.roff.control("PP", []);
            }
            Tag::Item => {
                self.roff.control("IP", ["\\(bu", "2"]);
                self.at_bullet = true;
            }
            Tag::CodeBlock(_) => self.block = Some(String::new()),
            Tag::Strong => self.bold += 1,
            Tag::Emphasis => self.italic += 1,
            Tag::Table(_) => self.table = Table::default(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph | TagEnd::Item => self.end_line(),
            TagEnd::List(_) => self.at_bullet = false,
            TagEnd::CodeBlock => {
                let block = self.block.take().unwrap_or_default();
                verbatim(&mut self.roff, block.lines());
            }
            TagEnd::Strong => self.bold -= 1,
            TagEnd::Emphasis => self.italic -= 1,
            TagEnd::TableCell => self.table.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => {
                self.table.heads = self.table.cells.drain(..).map(|cell| plain(&cell)).collect();
            }
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    fn end_line(&mut self) {
        self.at_bullet = false;
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let text = plain(&std::mem::take(&mut self.line));
        match level {
            HeadingLevel::H1 => {}
            HeadingLevel::H2 => heading(&mut self.roff, "SH", &text),
            _ => heading(&mut self.roff, "SS", &text),
        }
    }

    /// An entry: the first cell is its term; the others follow, each behind its column's head. The
    /// last one says what it means: it has a line of its own.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.table.cells).into_iter().zip(&self.table.heads);
        self.roff.control("TP", []);
        self.roff.text(cells.next().map_or_else(Vec::new, |(term, _)| term));
        let mut rest: Vec<_> = cells.filter(|(cell, _)| !cell.is_empty()).collect();
        let last = rest.pop();
        let lone = self.table.heads.len() == 2;
        let labelled = |(cell, head): (Vec<Inline>, &String)| {
            let label = if lone { String::new() } else { format!("{head}: ") };
            let mut inlines = vec![italic(label)];
            inlines.retain(|_| !lone);
            inlines.extend(cell);
            inlines
        };
        if !rest.is_empty() {
            let cells: Vec<_> = rest.into_iter().map(labelled).collect();
            self.roff.text(cells.join(&roman("; ")));
            self.roff.control("br", []);
        }
        self.roff.text(last.map_or_else(Vec::new, labelled));
    }
}

/// The text without its fonts.
fn plain(inlines: &[Inline]) -> String {
    let text = |inline: &Inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    };
    inlines.iter().map(text).collect()
}
