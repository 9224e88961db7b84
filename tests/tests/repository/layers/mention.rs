//! A path as the text names it: `crate::fd::CloseQueue`, `super::run`, `Case::decided`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::UseTree;

/// Where in its file a path stands, and its segments.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Mention {
    pub(crate) fn of(path: &syn::Path) -> Self {
        let line = path.segments[0].ident.span().start().line;
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        Self { segments: segments.collect(), line }
    }

    /// One name alone.
    pub(crate) fn called(name: &Ident) -> Self {
        Self { segments: vec![name.to_string()], line: name.span().start().line }
    }
}

/// What a `use` brings: each name, or none for `*`, and where it is from.
pub(crate) fn in_use(tree: &UseTree) -> Vec<(Option<String>, Mention)> {
    let mut found = Vec::new();
    gather(tree, &mut Vec::new(), &mut found);
    found
}

fn gather(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<(Option<String>, Mention)>) {
    let mention = |before: &[String], last: Option<&Ident>, line| {
        let mut segments = before.to_vec();
        // `use a::b::{self}` is `use a::b`.
        segments.extend(
            last.filter(|last| *last != "self" || before.is_empty()).map(ToString::to_string),
        );
        Mention { segments, line }
    };
    let line = |ident: &Ident| ident.span().start().line;
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            gather(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| gather(tree, before, found)),
        UseTree::Name(name) => {
            let mention = mention(before, Some(&name.ident), line(&name.ident));
            found.push((mention.segments.last().cloned(), mention));
        }
        UseTree::Rename(rename) => {
            let mention = mention(before, Some(&rename.ident), line(&rename.ident));
            found.push((Some(rename.rename.to_string()), mention));
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            found.push((None, mention(before, None, line)));
        }
    }
}

/// The paths, and the methods called, in what is given to a macro, which alone can parse it.
pub(crate) fn in_tokens(tokens: TokenStream) -> (Vec<Mention>, Vec<Mention>) {
    let mut found = (Vec::new(), Vec::new());
    scan(tokens, &mut found);
    found
}

/// The names of the functions that stand in what is given to a macro.
pub(crate) fn functions_in(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match (token, tokens.peek()) {
            (TokenTree::Group(group), _) => found.extend(functions_in(group.stream())),
            (TokenTree::Ident(word), Some(TokenTree::Ident(name))) if word == "fn" => {
                found.push(name.to_string());
            }
            _ => {}
        }
    }
    found
}

fn scan(tokens: TokenStream, found: &mut (Vec<Mention>, Vec<Mention>)) {
    let mut before = String::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                scan(group.stream(), found);
                before.clear();
            }
            TokenTree::Ident(ident) => {
                let is_called = matches!(tokens.peek(), Some(TokenTree::Group(_)));
                note(found, &before, &ident, is_called);
                "a".clone_into(&mut before);
            }
            TokenTree::Punct(punct) => before.push(punct.as_char()),
            TokenTree::Literal(_) => before.clear(),
        }
    }
}

/// Goes on with the path before, or begins one. A field or a lifetime is none.
fn note(
    (named, called): &mut (Vec<Mention>, Vec<Mention>),
    before: &str,
    ident: &Ident,
    is_called: bool,
) {
    match named.last_mut() {
        Some(last) if before == "a::" => last.segments.push(ident.to_string()),
        _ if before.ends_with('.') && !before.ends_with("..") => {
            called.extend(is_called.then(|| Mention::called(ident)));
        }
        _ if before.ends_with('\'') => {}
        _ => named.push(Mention::called(ident)),
    }
}
