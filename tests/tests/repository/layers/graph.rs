//! Which file takes what from which, in one crate, and where that runs in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::mention::Mention;
use super::tree::{ModuleId, Tree};

/// What a name stands for.
enum Meaning {
    Module(ModuleId),
    /// Something that this module defines.
    Item(ModuleId),
}

/// The files, each with those it takes something from: where, and what.
#[derive(Default)]
pub(crate) struct Graph {
    arrows: BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeMap<usize, String>>>,
}

impl Graph {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut graph = Self::default();
        let lent = tree.lent();
        for (id, module) in tree.modules.iter().enumerate() {
            // What an imported module is good for shows where it is named.
            let imports = module.imports.values();
            let imports = imports.filter(|import| !tree.is_module(id, &import.segments));
            for mention in imports.chain(&module.mentions) {
                if let Some(Meaning::Item(home)) = tree.meaning(id, &mention.segments, true, 0) {
                    graph.add(&module.file, &tree.modules[home].file, mention);
                }
            }
            let of_self = module.mentions.iter().filter(|path| path.segments[0] == "Self");
            for call in module.calls.iter().chain(of_self) {
                if let Some(home) = lent.get(call.segments.last().unwrap().as_str()) {
                    graph.add(&module.file, &tree.modules[*home].file, call);
                }
            }
        }
        graph
    }

    /// The same between the contents of each folder: its files, and its folders as one each.
    pub(crate) fn of_rooms(&self) -> Self {
        let mut rooms = Self::default();
        for (from, arrows) in &self.arrows {
            for (to, lines) in arrows {
                let (own, other) = where_they_part(from, to);
                let taken = rooms.arrows.entry(own).or_default().entry(other).or_default();
                taken.extend(
                    lines
                        .iter()
                        .map(|(line, path)| (*line, format!("{path} (in {})", from.display()))),
                );
            }
        }
        rooms
    }

    fn add(&mut self, from: &Path, to: &Path, mention: &Mention) {
        if from != to {
            let arrows = self.arrows.entry(from.to_owned()).or_default();
            let lines = arrows.entry(to.to_owned()).or_default();
            lines.entry(mention.line).or_insert_with(|| mention.segments.join("::"));
        }
    }

    /// The largest sets of files of which each reaches every other.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<PathBuf>> {
        let reached: BTreeMap<_, _> =
            self.arrows.keys().map(|file| (file.as_path(), self.reached_from(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, others) in &reached {
            let back = |other: &&PathBuf| {
                reached.get(other.as_path()).is_some_and(|it| it.contains(*file))
            };
            let circle: BTreeSet<PathBuf> = others.iter().filter(back).cloned().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn reached_from(&self, file: &Path) -> BTreeSet<PathBuf> {
        let mut reached = BTreeSet::new();
        let mut ahead = vec![file];
        while let Some(file) = ahead.pop() {
            let next = self.arrows.get(file).into_iter().flat_map(BTreeMap::keys);
            ahead.extend(next.filter(|next| reached.insert((*next).clone())).map(PathBuf::as_path));
        }
        reached
    }

    /// One line for each place at which a file of the circle takes something from another.
    pub(crate) fn places(&self, circle: &BTreeSet<PathBuf>) -> Vec<String> {
        let mut places = Vec::new();
        for (from, arrows) in self.arrows.iter().filter(|(from, _)| circle.contains(*from)) {
            for (to, lines) in arrows.iter().filter(|(to, _)| circle.contains(*to)) {
                let place = |(line, path): (&usize, &String)| {
                    format!("{}:{line} takes {path} from {}", from.display(), to.display())
                };
                places.extend(lines.iter().map(place));
            }
        }
        places
    }
}

/// Two files, or the folders that they are in, below the last folder that they have in common.
fn where_they_part(one: &Path, other: &Path) -> (PathBuf, PathBuf) {
    let same = one.components().zip(other.components()).take_while(|(one, other)| one == other);
    let depth = same.count() + 1;
    let cut = |path: &Path| path.components().take(depth).collect();
    (cut(one), cut(other))
}

impl Tree {
    /// The functions that a type has outside its own file, by their names, if no other has that name:
    /// taking a type apart into several files does not hide that these call each other.
    fn lent(&self) -> BTreeMap<&str, ModuleId> {
        let mut homes: BTreeMap<&str, Vec<(ModuleId, &str)>> = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            for (function, of) in &module.functions {
                homes.entry(function).or_default().push((id, of));
            }
        }
        let is_made = |name: &str| self.modules.iter().any(|module| module.made.contains(name));
        let alone = homes.into_iter().filter(|(name, homes)| homes.len() == 1 && !is_made(name));
        let lent = alone.filter(|(_, homes)| !self.modules[homes[0].0].items.contains(homes[0].1));
        lent.map(|(function, homes)| (function, homes[0].0)).collect()
    }

    fn is_module(&self, module: ModuleId, path: &[String]) -> bool {
        matches!(self.meaning(module, path, false, 0), Some(Meaning::Module(_)))
    }

    /// What a path stands for that this module names. `None`: it is from another crate, or bound
    /// in the function itself. What is `last` of a path can be an item; else it is a module, if there is
    /// one of that name.
    fn meaning(
        &self,
        module: ModuleId,
        path: &[String],
        last: bool,
        depth: usize,
    ) -> Option<Meaning> {
        let (first, rest) = path.split_first()?;
        let mut meaning = match first.as_str() {
            "crate" => Meaning::Module(0),
            "self" => Meaning::Module(module),
            "super" => Meaning::Module(self.modules[module].parent?),
            name => self.look_up(module, name, last && rest.is_empty(), depth)?,
        };
        for (at, name) in rest.iter().enumerate() {
            // What follows an item are its variants and functions, which are at home where it is.
            let Meaning::Module(inner) = meaning else { break };
            meaning = match name.as_str() {
                "super" => Meaning::Module(self.modules[inner].parent?),
                name => self.look_up(inner, name, last && at + 1 == rest.len(), depth)?,
            };
        }
        Some(meaning)
    }

    /// A name in a module. One that is handed on (`pub use`) is at home where it is defined.
    fn look_up(&self, id: ModuleId, name: &str, last: bool, depth: usize) -> Option<Meaning> {
        let module = &self.modules[id];
        // A module and a function can have the same name: only the module has something in it.
        if !last && let Some(child) = module.children.get(name) {
            return Some(Meaning::Module(*child));
        }
        if module.items.contains(name) {
            return Some(Meaning::Item(id));
        }
        // `use serde::de::self` in a module of that name would lead to itself.
        if depth > 16 {
            return None;
        }
        if let Some(import) = module.imports.get(name)
            && let Some(meaning) = self.meaning(id, &import.segments, last, depth + 1)
        {
            return Some(meaning);
        }
        if let Some(child) = module.children.get(name) {
            return Some(Meaning::Module(*child));
        }
        module.globs.iter().find_map(|glob| {
            match self.meaning(id, &glob.segments, false, depth + 1)? {
                Meaning::Module(from) if from != id => self.look_up(from, name, last, depth + 1),
                _ => None,
            }
        })
    }
}
