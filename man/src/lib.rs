//! The manual pages, made from what there is anyway: the command lines from the definitions that
//! `--help` shows, the policy language from `docs/policy.md`. What neither says is beside this
//! crate's sources, as Markdown.
//!
//! The pages are kept in `man/`, for packagers; a test compares them with what is made here. So are
//! the files by which shells complete the command lines, in `man/completions/`.

mod command;
mod completions;
mod markdown;
mod page;

pub use page::Page;

/// Every file by which a shell completes a command line.
pub fn completions() -> Vec<Page> {
    completions::completions()
}

/// Every page.
pub fn pages() -> Vec<Page> {
    vec![fdbroker(), fdbrokerd(), policy()]
}

fn fdbroker() -> Page {
    let mut body = command::render(fdbroker_cli::definition());
    body.push(markdown::render(include_str!("../fdbroker.1.md")));
    let others = ["fdbrokerd(8)", "fdbroker-policy(5)", "sd_listen_fds(3)", "unix(7)"];
    body.push(page::see_also(&others));
    Page::new("fdbroker", 1, &body)
}

fn fdbrokerd() -> Page {
    let mut body = command::render(fdbrokerd::definition());
    body.push(markdown::render(include_str!("../fdbrokerd.8.md")));
    let others = ["fdbroker(1)", "fdbroker-policy(5)", "systemd.exec(5)", "journalctl(1)"];
    body.push(page::see_also(&others));
    Page::new("fdbrokerd", 8, &body)
}

fn policy() -> Page {
    let body = [
        page::name("fdbroker-policy", "who may take what from the file-descriptor broker"),
        markdown::render(include_str!("../fdbroker-policy.5.md")),
        markdown::render(include_str!("../../docs/policy.md")),
        page::see_also(&["fdbroker(1)", "fdbrokerd(8)", "capabilities(7)", "systemd.exec(5)"]),
    ];
    Page::new("fdbroker-policy", 5, &body)
}
