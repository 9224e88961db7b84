//! What shells complete: the subcommands and options of both programs.

use clap_complete::{Shell, generate};

use crate::page::Page;

/// A file for each program and each shell, by the name under which the shell looks for it.
pub(crate) fn completions() -> Vec<Page> {
    let definitions = [fdbroker_cli::definition(), fdbrokerd::definition()];
    let shells = [Shell::Bash, Shell::Fish, Shell::Zsh];
    definitions
        .iter()
        .flat_map(|definition| shells.map(|shell| completion(definition.clone(), shell)))
        .collect()
}

fn completion(mut definition: clap::Command, shell: Shell) -> Page {
    let name = definition.get_name().to_owned();
    let mut text = Vec::new();
    generate(shell, &mut definition, &name, &mut text);
    let file = match shell {
        Shell::Zsh => format!("completions/_{name}"),
        shell => format!("completions/{name}.{shell}"),
    };
    Page { file, text: String::from_utf8_lossy(&text).into_owned() }
}
