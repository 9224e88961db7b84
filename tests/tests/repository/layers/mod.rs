//! No file takes something from a file that needs it: in each crate of the workspace, the arrows
//! between the files run one way.
//!
//! The crate `syn` parses each file. What a file takes is each path that it imports or names, in
//! `use`, in a function or in the arguments of a macro. Each is followed to the file that defines
//! it. So what a `mod.rs` only hands on (`pub use`) is not taken from it, and what it defines is.
//! That a file declares a module (`mod`) is no arrow. A function that a type has in another file
//! than its own counts for its callers. Tests within the files are left out.

mod graph;
mod mention;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graph::Graph;
use tree::Tree;

type Circle = BTreeSet<PathBuf>;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `src` of each crate.
fn sources() -> Vec<PathBuf> {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let sources = members.map(|member| workspace().join(member).join("src"));
    sources.filter(|source| source.is_dir()).collect()
}

/// The library and the programs of a crate.
fn crates(source: &Path) -> Vec<Tree> {
    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
    roots.extend(files_under(&source.join("bin")));
    roots.iter().filter(|root| root.exists()).map(|root| Tree::read(root)).collect()
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (inner, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let inner = inner.iter().flat_map(|directory| files_under(directory));
    inner.chain(files).filter(|file| file.extension().is_some_and(|it| it == "rs")).collect()
}

/// One circle, as a paragraph: its files, and each place that ties it.
fn told(graph: &Graph, circle: &Circle) -> String {
    let root = format!("{}/", workspace().display());
    let places = graph.places(circle).join("\n  ").replace(&root, "");
    format!("a circle of {} files:\n  {places}", circle.len())
}

/// Sees that in no crate such graphs run in a circle.
fn no_circle_in(graph: impl Fn(&Tree) -> Graph) {
    let trees = sources().into_iter().flat_map(|source| crates(&source));
    let graphs: Vec<Graph> = trees.map(|tree| graph(&tree)).collect();
    let circles = graphs
        .iter()
        .flat_map(|graph| graph.circles().into_iter().map(move |circle| told(graph, &circle)));
    let circles: Vec<String> = circles.collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn no_file_takes_something_from_one_that_needs_it() {
    no_circle_in(Graph::of);
}

#[test]
fn no_folder_takes_something_from_one_that_needs_it() {
    no_circle_in(|tree| Graph::of(tree).of_rooms());
}

#[test]
fn each_source_file_is_looked_at() {
    for source in sources() {
        let trees = crates(&source);
        let tests = trees.iter().flat_map(|tree| tree.tests.iter().cloned());
        let modules = trees.iter().flat_map(|tree| tree.modules.iter());
        let read: Circle = modules.map(|module| module.file.clone()).chain(tests).collect();
        let all: Circle = files_under(&source).into_iter().collect();
        assert_eq!(all.difference(&read).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}

/// The circles of a crate of these files, by the files' names.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let tree = Tree::read(&directory.path().join("lib.rs"));
    let name =
        |file: &PathBuf| file.strip_prefix(directory.path()).unwrap().to_str().unwrap().to_owned();
    Graph::of(&tree).circles().iter().map(|circle| circle.iter().map(name).collect()).collect()
}

const NO_CIRCLE: Vec<Vec<String>> = Vec::new();

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let root = ("lib.rs", "mod a; mod b;");
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    assert_eq!(
        circles_of(&[root, a, ("b.rs", "use super::a; pub struct B(a::A);")]),
        [["a.rs", "b.rs"]]
    );
    assert_eq!(circles_of(&[root, a, ("b.rs", "pub struct B;")]), NO_CIRCLE);
}

#[test]
fn a_path_in_a_function_or_a_macro_counts_as_an_import_does() {
    let root = ("lib.rs", "mod a; mod b;");
    let a = ("a.rs", "use crate::b::{self}; pub fn a() { b::b() }");
    let in_function = ("b.rs", "pub fn b() { super::a::a() }");
    let in_macro = ("b.rs", "pub fn b() { print!(\"{}\", [crate::a::a()].len()) }");
    assert_eq!(circles_of(&[root, a, in_function]), [["a.rs", "b.rs"]]);
    assert_eq!(circles_of(&[root, a, in_macro]), [["a.rs", "b.rs"]]);
}

#[test]
fn a_child_takes_what_its_parent_defines_and_not_what_it_hands_on() {
    let root = ("lib.rs", "mod p;");
    let child = ("p/c.rs", "use super::N; pub fn c() -> u8 { N }");
    let defines = ("p/mod.rs", "mod c; pub const N: u8 = 1; pub use c::c;");
    let hands_on = ("p/mod.rs", "mod c; mod n; pub use n::N; pub use c::c;");
    assert_eq!(circles_of(&[root, child, defines]), [["p/c.rs", "p/mod.rs"]]);
    assert_eq!(circles_of(&[root, child, hands_on, ("p/n.rs", "pub const N: u8 = 1;")]), NO_CIRCLE);
}

#[test]
fn a_type_that_is_taken_apart_hides_no_circle() {
    let root = ("lib.rs", "mod state; mod run; mod stop;");
    let state = ("state.rs", "pub struct State;");
    let run =
        ("run.rs", "use crate::state::State; impl State { pub fn run(&self) { self.stop() } }");
    let stop =
        ("stop.rs", "use crate::state::State; impl State { pub fn stop(&self) { self.run() } }");
    assert_eq!(circles_of(&[root, state, run, stop]), [["run.rs", "stop.rs"]]);
}

#[test]
fn a_function_that_a_macro_makes_too_is_not_the_only_one_of_its_name() {
    let root = ("lib.rs", "mod state; mod run; mod table;");
    let state = ("state.rs", "pub struct State;");
    let run = ("run.rs", "use crate::{state::State, table}; impl State { pub fn get(&self) {} }");
    let table = ("table.rs", "macro_rules! t { () => { fn get() {} } } pub fn a(n: N) { n.get() }");
    assert_eq!(circles_of(&[root, state, run, table]), NO_CIRCLE);
    let run = ("run.rs", "impl crate::state::State { pub fn get(&self) { crate::table::a(1) } }");
    let table = ("table.rs", "pub fn a(n: N) { n.get() }");
    assert_eq!(circles_of(&[root, state, run, table]), [["run.rs", "table.rs"]]);
}

#[test]
fn what_only_tests_import_makes_no_circle() {
    let root = ("lib.rs", "mod a; mod b;");
    let a = ("a.rs", "pub fn a() {} #[cfg(test)] mod tests { use crate::b::b; }");
    assert_eq!(circles_of(&[root, a, ("b.rs", "use crate::a::a; pub fn b() { a() }")]), NO_CIRCLE);
}

#[test]
fn a_module_is_told_from_a_function_of_the_same_name() {
    let root = ("lib.rs", "mod p;");
    let parent = ("p/mod.rs", "mod run; mod a; pub fn run() { a::a() }");
    let a = ("p/a.rs", "use super::run; pub fn a() { run::b() }");
    assert_eq!(circles_of(&[root, parent, a, ("p/run.rs", "pub fn b() {}")]), NO_CIRCLE);
}
