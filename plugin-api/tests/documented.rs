//! Every public item has an example that the doc tests compile.
//!
//! What an author names (a type, a trait, a function, a constant, a macro) has one of its own, or is named in one that
//! stands in the same file: the parts of a message are shown where the message is. What an author calls is called in
//! one, wherever it stands: a method by its name, since what it is called on has no type in a text, any other function
//! of a type by both names. Exempt are:
//!
//! - fields and variants: the example of their type shows those that need it; so are a type's own constants;
//! - what is only named again (`pub use`): it is looked at where it is declared;
//! - what is hidden from the documentation, and what `export_plugin!` alone is made of;
//! - the package `abi`, which is C: `docs/abi.md` says it, and `examples/echo.c` is its example, which the tests build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use sources::file_of;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Visibility};

/// What `export_plugin!` is made of: no author calls it.
const MACHINERY: &str = "src/export.rs";

/// What the sources declare.
#[derive(Default)]
struct Sources {
    /// What an author names: its name, its documentation, and the file that it stands in.
    named: Vec<(String, String, PathBuf)>,
    /// What an author calls.
    called: Vec<Called>,
    /// Every example that is compiled, and the file that it stands in.
    examples: Vec<(PathBuf, String)>,
}

/// A function of a type or trait.
struct Called {
    name: String,
    /// Its type or trait.
    of: String,
    /// Whether it is called on a value.
    is_method: bool,
    /// Whether an author writes it, too.
    is_of_trait: bool,
}

impl Called {
    fn new(signature: &syn::Signature, of: &str, is_of_trait: bool) -> Self {
        Self {
            name: signature.ident.to_string(),
            of: of.to_owned(),
            is_method: signature.receiver().is_some(),
            is_of_trait,
        }
    }

    /// Whether an example calls it.
    fn is_in(&self, text: &str) -> bool {
        let Self { name, of, is_method, is_of_trait } = self;
        let is_call = |text: &str| {
            text.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['(', ':']))
        };
        let is_called = |before: &str| text.split(before).skip(1).any(is_call);
        let is_called_by_its_type = || {
            words(text, of).filter_map(|(_, rest)| rest.strip_prefix("::")).any(|rest| {
                // `Stage::<Echo>::open(` has the type's own between the two.
                let rest = rest
                    .strip_prefix('<')
                    .and_then(|rest| rest.split_once(">::"))
                    .map_or(rest, |(_, rest)| rest);
                is_call(rest)
            })
        };
        (*is_method && (is_called(".") || is_called("::")))
            || is_called_by_its_type()
            || (*is_of_trait && text.contains(&format!("fn {name}(")))
    }
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
                            let called = Called::new(&function.sig, &one.ident.to_string(), true);
                            self.called(&public, called, &function.attrs, file);
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
                            let called = Called::new(&function.sig, &of, false);
                            self.called(&function.vis, called, &function.attrs, file);
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

    fn called(&mut self, seen: &Visibility, called: Called, about: &[Attribute], file: &Path) {
        self.show(file, &docs(about));
        if matches!(seen, Visibility::Public(_)) && !is_hidden(about) {
            self.called.push(called);
        }
    }
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

/// What stands before and after this word wherever a text has it.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let around =
        text.match_indices(word).map(move |(at, _)| (&text[..at], &text[at + word.len()..]));
    around.filter(move |(before, after)| !before.ends_with(is_part) && !after.starts_with(is_part))
}

/// Whether a text has this word.
fn has_word(text: &str, word: &str) -> bool {
    words(text, word).next().is_some()
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
        .filter(|(name, _, file)| !file.ends_with(MACHINERY) || name == "export_plugin")
        .filter(|item| !is_shown(item))
        .map(|(name, _, file)| format!("{name} ({})", file.display()))
        .collect();
    assert!(missing.is_empty(), "without an example: {missing:#?}");
}

#[test]
fn everything_that_an_author_calls_is_called_in_an_example() {
    let sources = sources();
    assert!(sources.called.len() > 100);
    let missing: Vec<String> = sources
        .called
        .iter()
        .filter(|called| !sources.examples.iter().any(|(_, text)| called.is_in(text)))
        .map(|Called { name, of, .. }| format!("{of}::{name}"))
        .collect();
    assert!(missing.is_empty(), "in no example: {missing:#?}");
}

#[test]
fn a_function_without_a_value_is_called_by_the_name_of_its_type() {
    for (code, is_of_trait, text, expected) in [
        ("fn new() -> Self", false, "let stage = Stage::new();", true),
        ("fn new() -> Self", false, "let other = Other::new();", false),
        ("fn new() -> Self", false, "let other = BackStage::new();", false),
        ("fn new<T>() -> Self", false, "Stage::new::<u8>()", true),
        ("fn new() -> Self", false, "Stage::<Vec<u8>>::new()", true),
        ("fn new() -> Self", false, "Stage::<u8>::newer() + Other::new()", false),
        ("fn new(&self)", false, "stage.new()", true),
        ("fn new(&self)", false, "stage.newer()", false),
        ("fn new() -> Self", true, "fn new() -> Self {", true),
        ("fn new() -> Self", false, "fn new() -> Self {", false),
    ] {
        let called = Called::new(&syn::parse_str(code).unwrap(), "Stage", is_of_trait);
        assert_eq!(called.is_in(text), expected, "{code}: {text}");
    }
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
