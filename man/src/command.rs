//! A command line as a part of a manual page: synopsis, description, options, and what follows the
//! help, from the definition that `--help` is made from too.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::page::{heading, name, part, strong, verbatim};

/// Titles in what follows a help text, and the sections of a manual page that they are.
const SECTIONS: [(&str, &str); 5] = [
    ("Examples:", "EXAMPLES"),
    ("Example:", "EXAMPLES"),
    ("Exit statuses:", "EXIT STATUS"),
    ("Exit status:", "EXIT STATUS"),
    ("Environment:", "ENVIRONMENT"),
];

/// A command with all its subcommands, from NAME on; its parts in their order.
pub(crate) fn render(command: Command) -> Vec<String> {
    let command = command.disable_help_subcommand(true);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let name = name(command.get_name(), about.trim_end_matches('.'));
    let mut head = Roff::new();
    heading(&mut head, "SH", "SYNOPSIS");
    let mut text = Roff::new();
    heading(&mut text, "SH", "DESCRIPTION");
    description(&mut text, &command);
    heading(&mut text, "SH", "OPTIONS");
    let mut parts = vec![name, part(&head), synopsis(&command), part(&text), options(&command)];
    let subcommands: Vec<_> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
    if !subcommands.is_empty() {
        let mut title = Roff::new();
        heading(&mut title, "SH", "COMMANDS");
        parts.push(part(&title));
    }
    parts.extend(subcommands.into_iter().flat_map(|it| subcommand(it, command.get_name())));
    parts.push(epilogue(&command, |roff, title| heading(roff, "SH", title)));
    parts
}

/// A subcommand, as a section within the section COMMANDS.
fn subcommand(subcommand: &Command, of: &str) -> [String; 5] {
    // A page of its own would have these; here they are said once for all.
    let command = subcommand.clone().disable_help_flag(true).disable_version_flag(true);
    let full = format!("{of} {}", command.get_name());
    let mut title = Roff::new();
    heading(&mut title, "SS", &full);
    let usage = synopsis(&command.clone().bin_name(full));
    let mut text = Roff::new();
    text.control("PP", []);
    description(&mut text, &command);
    let end = epilogue(&command, |roff, title| {
        let (first, rest) = title.split_at_checked(1).unwrap_or_default();
        strong(roff, &format!("{first}{}:", rest.to_lowercase()));
    });
    [part(&title), usage, part(&text), options(&command), end]
}

fn description(roff: &mut Roff, command: &Command) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (number, paragraph) in about.split("\n\n").enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        let paragraph = paragraph.replace('\n', " ");
        roff.text([roman(format!("{}.", paragraph.trim_end_matches('.')))]);
    }
}

/// The usage line of the help.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or(usage);
    let mut roff = Roff::new();
    roff.text([bold(name), roman(rest)]);
    part(&roff)
}

/// The options as clap_mangen writes them, without its heading.
fn options(command: &Command) -> String {
    let mut bytes = Vec::new();
    let written = Man::new(command.clone()).render_options_section(&mut bytes);
    written.expect("a Vec takes everything");
    let text = String::from_utf8_lossy(&bytes);
    let body = text.split_once("\n.SH ").and_then(|(_, rest)| rest.split_once('\n'));
    body.map_or_else(String::new, |(_, body)| body.to_owned())
}

/// What follows the help: titles, blocks of commands, and paragraphs.
fn epilogue(command: &Command, title: impl Fn(&mut Roff, &str)) -> String {
    let text = command.get_after_long_help().or_else(|| command.get_after_help());
    let text = text.map(ToString::to_string).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let mut roff = Roff::new();
    for block in lines.chunk_by(|one, next| is_indented(one) == is_indented(next)) {
        if block.first().is_some_and(|line| is_indented(line)) {
            verbatim(&mut roff, block.iter().map(|line| line.strip_prefix("  ").unwrap_or(line)));
            continue;
        }
        for paragraph in block.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()) {
            let paragraph = paragraph.join(" ");
            let section = SECTIONS.iter().find_map(|(begin, section)| {
                Some((section, paragraph.strip_prefix(begin)?.trim_start()))
            });
            if let Some((section, _)) = section {
                title(&mut roff, section);
            }
            let rest = section.map_or(paragraph.as_str(), |(_, rest)| rest);
            if !rest.is_empty() {
                roff.control("PP", []).text([roman(rest)]);
            }
        }
    }
    part(&roff)
}

fn is_indented(line: &str) -> bool {
    line.starts_with("  ")
}
