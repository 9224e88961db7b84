//! The modules of one crate, with what each defines, imports and names.
//!
//! Read from the files as the compiler finds them: from the root along `mod`. What only the tests
//! of a crate are (`#[cfg(test)]`) is left out: they may look at whatever they test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use super::mention::{Mention, functions_in, in_tokens, in_use};

/// The number of a module in its tree.
pub(crate) type ModuleId = usize;

/// What a module holds. One that stands within its parent's file is a module of its own all the same.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) children: BTreeMap<String, ModuleId>,
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: BTreeMap<String, Mention>,
    pub(crate) globs: Vec<Mention>,
    pub(crate) mentions: Vec<Mention>,
    /// Methods that are called: of what, only the compiler knows.
    pub(crate) calls: Vec<Mention>,
    /// The functions of its types, each with the type's name.
    pub(crate) functions: Vec<(String, String)>,
    /// The functions that a macro makes: of what type, only the compiler knows.
    pub(crate) made: BTreeSet<String>,
    /// Where its children are looked for.
    directory: PathBuf,
}

/// All modules of a crate; the first is its root.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    pub(crate) tests: BTreeSet<PathBuf>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let directory = root.parent().unwrap().to_owned();
        tree.read_file(root.to_owned(), None, directory);
        tree
    }

    fn read_file(
        &mut self,
        file: PathBuf,
        parent: Option<ModuleId>,
        directory: PathBuf,
    ) -> ModuleId {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let id = self.add(file, parent, directory);
        Reader { tree: self, module: id }.visit_file(&parsed);
        id
    }

    fn add(&mut self, file: PathBuf, parent: Option<ModuleId>, directory: PathBuf) -> ModuleId {
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
            calls: Vec::new(),
            functions: Vec::new(),
            made: BTreeSet::new(),
            directory,
        });
        self.modules.len() - 1
    }
}

/// Reads one module.
struct Reader<'a> {
    tree: &'a mut Tree,
    module: ModuleId,
}

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    /// The file of a child, as the compiler looks for it.
    fn file_of(&mut self, name: &str) -> PathBuf {
        let beside = self.here().directory.join(format!("{name}.rs"));
        if beside.exists() { beside } else { self.here().directory.join(name).join("mod.rs") }
    }

    fn child(&mut self, module: &syn::ItemMod) {
        let name = module.ident.to_string();
        let directory = self.here().directory.join(&name);
        let parent = Some(self.module);
        let id = match &module.content {
            None => {
                let file = self.file_of(&name);
                self.tree.read_file(file, parent, directory)
            }
            Some((_, items)) => {
                let file = self.here().file.clone();
                let id = self.tree.add(file, parent, directory);
                let mut reader = Reader { tree: self.tree, module: id };
                items.iter().for_each(|item| reader.visit_item(item));
                id
            }
        };
        self.here().children.insert(name, id);
    }

    fn leave_out(&mut self, item: &syn::Item) {
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
        {
            let file = self.file_of(&module.ident.to_string());
            self.tree.tests.insert(file);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = described(item);
        if is_test(attributes) {
            return self.leave_out(item);
        }
        if let Some(name) = name {
            self.here().items.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let syn::Type::Path(of) = &*item.self_ty {
            let name = of.path.segments.last().unwrap().ident.to_string();
            for item in &item.items {
                if let syn::ImplItem::Fn(function) = item
                    && !is_test(&function.attrs)
                {
                    self.here().functions.push((function.sig.ident.to_string(), name.clone()));
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.here().calls.push(Mention::called(&call.method));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.child(module);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (name, mention) in in_use(&item.tree) {
            match name {
                Some(name) => _ = self.here().imports.insert(name, mention.clone()),
                None => self.here().globs.push(mention),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.here().mentions.push(Mention::of(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let (named, called) = in_tokens(call.tokens.clone());
        self.here().mentions.extend(named);
        self.here().calls.extend(called);
        self.here().made.extend(functions_in(call.tokens.clone()));
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    /// `pub(super)` takes nothing from there.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn described(item: &syn::Item) -> (&[syn::Attribute], Option<&syn::Ident>) {
    use syn::Item;
    match item {
        Item::Const(it) => (&it.attrs, Some(&it.ident)),
        Item::Enum(it) => (&it.attrs, Some(&it.ident)),
        Item::Fn(it) => (&it.attrs, Some(&it.sig.ident)),
        Item::Impl(it) => (&it.attrs, None),
        Item::Macro(it) => (&it.attrs, it.ident.as_ref()),
        Item::Mod(it) => (&it.attrs, None),
        Item::Static(it) => (&it.attrs, Some(&it.ident)),
        Item::Struct(it) => (&it.attrs, Some(&it.ident)),
        Item::Trait(it) => (&it.attrs, Some(&it.ident)),
        Item::Type(it) => (&it.attrs, Some(&it.ident)),
        Item::Union(it) => (&it.attrs, Some(&it.ident)),
        Item::Use(it) => (&it.attrs, None),
        _ => (&[], None),
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}
