//! Every public item has an example that the doc tests compile.
//!
//! What an author names (a type, a trait, a function, a constant, a macro) has one of its own, or is named in one that
//! stands in the same file: the parts of a message are shown where the message is. What an author calls (a method) is
//! called in one, wherever it stands. Exempt are:
//!
//! - fields and variants: the example of their type shows those that need it;
//! - what is hidden from the documentation, and what `export_plugin!` alone is made of;
//! - the package `abi`, which is C: `docs/abi.md` says it, and `examples/echo.c` is its example, which the tests build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Visibility};

/// Items without an example, and why.
const EXCEPTIONS: [(&str, &str); 1] =
    [("export_plugin", "reads two files of the author's crate, which every plugin here shows")];

/// What `export_plugin!` is made of: no author calls it.
const MACHINERY: &str = "src/export.rs";

/// What the sources declare.
#[derive(Default)]
struct Sources {
    /// What an author names: its name, its documentation, and the file that it stands in.
    named: Vec<(String, String, PathBuf)>,
    /// What an author calls, and of which type.
    called: Vec<(String, String)>,
    /// Every example that is compiled, and the file that it stands in.
    examples: Vec<(PathBuf, String)>,
}

impl Sources {
    /// Reads a file and those of its modules.
    fn read(&mut self, file: &Path) {
        let source = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
        self.show(file, &docs(&source.attrs));
        self.items(source.items, file);
    }

    fn show(&mut self, file: &Path, docs: &str) {
        self.examples.extend(examples(docs).into_iter().map(|text| (file.to_owned(), text)));
    }

    fn items(&mut self, items: Vec<Item>, file: &Path) {
        for item in items {
            match item {
                Item::Mod(inner) if is_hidden(&inner.attrs) => {}
                Item::Mod(inner) => {
                    self.show(file, &docs(&inner.attrs));
                    match inner.content {
                        Some((_, content)) => self.items(content, file),
                        None => self.read(&file_of(file, &inner.ident.to_string())),
                    }
                }
                Item::Struct(one) => self.named(&one.vis, &one.ident, &one.attrs, file),
                Item::Enum(one) => self.named(&one.vis, &one.ident, &one.attrs, file),
                Item::Type(one) => self.named(&one.vis, &one.ident, &one.attrs, file),
                Item::Const(one) => self.named(&one.vis, &one.ident, &one.attrs, file),
                Item::Static(one) => self.named(&one.vis, &one.ident, &one.attrs, file),
                Item::Fn(one) => self.named(&one.vis, &one.sig.ident, &one.attrs, file),
                Item::Macro(one) => {
                    let is_exported = one.attrs.iter().any(|a| a.path().is_ident("macro_export"));
                    if let Some(name) = one.ident.filter(|_| is_exported) {
                        let public = Visibility::Public(Default::default());
                        self.named(&public, &name, &one.attrs, file);
                    } else {
                        // The kinds of failure are made by a macro, and their example with them.
                        self.show(file, &documented(&one.mac.tokens.to_string()));
                    }
                }
                Item::Trait(one) => {
                    self.named(&one.vis, &one.ident, &one.attrs, file);
                    for inner in one.items {
                        if let TraitItem::Fn(function) = inner {
                            let public = Visibility::Public(Default::default());
                            let (name, of) =
                                (function.sig.ident.to_string(), one.ident.to_string());
                            self.called(&public, name, of, &function.attrs, file);
                        }
                    }
                }
                Item::Impl(one) if one.trait_.is_none() => {
                    let of = match &*one.self_ty {
                        syn::Type::Path(path) => {
                            path.path.segments.last().unwrap().ident.to_string()
                        }
                        _ => String::new(),
                    };
                    for inner in one.items {
                        if let ImplItem::Fn(function) = inner {
                            let name = function.sig.ident.to_string();
                            self.called(&function.vis, name, of.clone(), &function.attrs, file);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn named(&mut self, seen: &Visibility, name: &syn::Ident, about: &[Attribute], file: &Path) {
        let docs = docs(about);
        self.show(file, &docs);
        if matches!(seen, Visibility::Public(_)) && !is_hidden(about) {
            self.named.push((name.to_string(), docs, file.to_owned()));
        }
    }

    fn called(
        &mut self,
        seen: &Visibility,
        name: String,
        of: String,
        about: &[Attribute],
        file: &Path,
    ) {
        self.show(file, &docs(about));
        if matches!(seen, Visibility::Public(_)) && !is_hidden(about) {
            self.called.push((name, of));
        }
    }
}

/// Where a module that is declared in this file lies.
fn file_of(declaring: &Path, name: &str) -> PathBuf {
    let stem = declaring.file_stem().unwrap();
    let folder = declaring.parent().unwrap();
    let folder = if stem == "lib" || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}

/// Whether the documentation does not have it.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| match &one.meta {
        Meta::List(list) if list.path.is_ident("doc") => list.tokens.to_string() == "hidden",
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Its documentation; of a chapter of the guide nothing, since that lies in a file of its own.
fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|one| match &one.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(text) => match &text.lit {
                Lit::Str(text) => Some(format!("{}\n", text.value())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect()
}

/// The documentation within what a macro is given, which is read as it is written: `# [doc = " text"]`.
fn documented(tokens: &str) -> String {
    let lines = tokens.split("[doc = ").skip(1).filter_map(|rest| {
        let literal = rest.split_once("\"]").map_or(rest, |(literal, _)| literal);
        syn::parse_str::<syn::LitStr>(&format!("{literal}\"")).ok()
    });
    lines.map(|line| format!("{}\n", line.value())).collect()
}

/// The examples of a documentation that are compiled.
fn examples(docs: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in docs.lines() {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(_), Some((is_compiled, text))) => {
                if *is_compiled {
                    all.push(std::mem::take(text));
                }
                open = None;
            }
            (Some(kind), None) => {
                let is_compiled = ["", "rust", "no_run", "should_panic"].contains(&kind.trim());
                open = Some((is_compiled, String::new()));
            }
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    all
}

/// Whether a text has this word.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Sources::default();
    sources.read(&root.join("src/lib.rs"));
    let mut chapters = Vec::new();
    collect(&root.join("docs"), &mut chapters);
    for (file, text) in chapters.into_iter().filter(|(file, _)| file.ends_with(".md")) {
        sources.show(Path::new(&file), &text);
    }
    sources
}

#[test]
fn everything_that_an_author_names_has_an_example() {
    let sources = sources();
    assert!(sources.named.len() > 100 && sources.examples.len() > 90);
    let is_shown = |(name, docs, file): &&(String, String, PathBuf)| {
        let beside = |(place, text): &(PathBuf, String)| place == file && has_word(text, name);
        !examples(docs).is_empty() || sources.examples.iter().any(beside)
    };
    let missing: Vec<String> = sources
        .named
        .iter()
        .filter(|(name, ..)| !EXCEPTIONS.iter().any(|(exception, _)| exception == name))
        .filter(|(_, _, file)| !file.ends_with(MACHINERY))
        .filter(|item| !is_shown(item))
        .map(|(name, _, file)| format!("{name} ({})", file.display()))
        .collect();
    assert!(missing.is_empty(), "without an example: {missing:#?}");
}

#[test]
fn everything_that_an_author_calls_is_called_in_an_example() {
    let sources = sources();
    assert!(sources.called.len() > 100);
    let is_called = |name: &str| {
        let forms = [
            format!(".{name}("),
            format!("::{name}("),
            format!("::{name}::<"),
            format!("fn {name}("),
        ];
        sources.examples.iter().any(|(_, text)| forms.iter().any(|form| text.contains(form)))
    };
    let missing: Vec<String> = sources
        .called
        .iter()
        .filter(|(name, _)| !is_called(name))
        .map(|(name, of)| format!("{of}::{name}"))
        .collect();
    assert!(missing.is_empty(), "in no example: {missing:#?}");
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_chapters_of_the_guide_are_all_reached() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let guide = include_str!("../src/guide.rs");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            assert!(guide.contains(&format!("docs/guide/{name}")), "{name} is in no chapter");
        }
    }
}

/// A condition with `let` in it compiles from 1.88 on; the lints of a newer compiler do not tell.
#[test]
fn no_condition_needs_a_newer_compiler_than_the_promised_one() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("abi/src"), &mut files);
    for (file, text) in files {
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!joined.contains("&& let "), "{file} chains a `let`");
    }
}
