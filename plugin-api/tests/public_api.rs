//! A listing of everything that authors can name, so that a change of it is seen in review. It is read from the sources:
//! what is `pub` and reachable from the root, without bodies and comments, as rustfmt's cousin prints it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod sources;

use std::{fs, path::Path};

use sources::file_of;
use syn::{
    Attribute, Block, Field, Fields, File, ImplItem, Item, TraitItem, Visibility, parse_quote,
};

#[test]
fn the_committed_listing_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut listing = "// What authors can name. UPDATE_PUBLIC_API=1 cargo test -p plugin-api --test public_api writes it \
                       anew.\n"
        .to_owned();
    list(&root.join("abi/src/lib.rs"), "plugin_abi", &mut listing);
    list(&root.join("src/lib.rs"), "plugin_api", &mut listing);
    let committed = root.join("tests/public_api.txt");
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(&committed, &listing).unwrap();
    }
    let known = fs::read_to_string(&committed).unwrap_or_default();
    if known != listing {
        let (before, now): (Vec<_>, Vec<_>) = (known.lines().collect(), listing.lines().collect());
        let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("- {line}"));
        let new = now.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
        let changes: Vec<String> = gone.chain(new).collect();
        panic!(
            "the public API has changed; is that meant? Then UPDATE_PUBLIC_API=1 cargo test -p plugin-api --test \
             public_api\n{}",
            changes.join("\n")
        );
    }
}

/// Lists a module's file, and those of its modules.
fn list(file: &Path, module: &str, listing: &mut String) {
    let source: File = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
    items(source.items, file, module, listing);
}

fn items(all: Vec<Item>, file: &Path, module: &str, listing: &mut String) {
    let (mut kept, mut below) = (Vec::new(), Vec::new());
    for item in all {
        match item {
            Item::Mod(inner) if is_of_tests(&inner.attrs) => {}
            Item::Mod(inner) => below.push(inner),
            item => kept.extend(public(item)),
        }
    }
    if !kept.is_empty() {
        let text = prettyplease::unparse(&File { shebang: None, attrs: Vec::new(), items: kept });
        listing.push_str(&format!("\n// {module}\n{text}"));
    }
    for inner in below {
        let name = format!("{module}::{}", inner.ident);
        match inner.content {
            Some((_, content)) => items(content, file, &name, listing),
            None => list(&file_of(file, &inner.ident.to_string()), &name, listing),
        }
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| one.path().is_ident("cfg") && is_test(one))
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// What matters to who uses an item: its conditions, its derives, and how it is laid out and written down.
fn clean(attributes: &mut Vec<Attribute>) {
    const KEPT: [&str; 8] = [
        "cfg",
        "cfg_attr",
        "derive",
        "macro_export",
        "must_use",
        "non_exhaustive",
        "repr",
        "serde",
    ];
    attributes.retain(|one| KEPT.iter().any(|name| one.path().is_ident(name)));
}

fn clean_fields(fields: &mut Fields) {
    let kept = |field: &Field| is_public(&field.vis);
    match fields {
        Fields::Named(named) => {
            named.named = named.named.iter().filter(|field| kept(field)).cloned().collect();
            named.named.iter_mut().for_each(|field| clean(&mut field.attrs));
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                clean(&mut field.attrs);
                if !kept(field) {
                    field.ty = parse_quote!(_);
                }
            }
        }
        Fields::Unit => {}
    }
}

fn empty() -> Block {
    parse_quote!({})
}

/// The item as others see it; nothing if they do not.
fn public(mut item: Item) -> Option<Item> {
    match &mut item {
        Item::Const(one) if is_public(&one.vis) => clean(&mut one.attrs),
        Item::Static(one) if is_public(&one.vis) => clean(&mut one.attrs),
        Item::Type(one) if is_public(&one.vis) => clean(&mut one.attrs),
        Item::Use(one) if is_public(&one.vis) => clean(&mut one.attrs),
        Item::Fn(one) if is_public(&one.vis) => {
            clean(&mut one.attrs);
            *one.block = empty();
        }
        Item::Struct(one) if is_public(&one.vis) => {
            clean(&mut one.attrs);
            clean_fields(&mut one.fields);
        }
        Item::Enum(one) if is_public(&one.vis) => {
            clean(&mut one.attrs);
            for variant in &mut one.variants {
                clean(&mut variant.attrs);
                for field in &mut variant.fields {
                    clean(&mut field.attrs);
                }
            }
        }
        Item::Trait(one) if is_public(&one.vis) => {
            clean(&mut one.attrs);
            for inner in &mut one.items {
                if let TraitItem::Fn(function) = inner {
                    clean(&mut function.attrs);
                    function.default = function.default.as_ref().map(|_| empty());
                } else if let TraitItem::Type(kind) = inner {
                    clean(&mut kind.attrs);
                }
            }
        }
        Item::Impl(one) => {
            clean(&mut one.attrs);
            let is_of_trait = one.trait_.is_some();
            one.items.retain(|inner| match inner {
                ImplItem::Fn(function) => !is_of_trait && is_public(&function.vis),
                ImplItem::Const(constant) => !is_of_trait && is_public(&constant.vis),
                _ => true,
            });
            for inner in &mut one.items {
                if let ImplItem::Fn(function) = inner {
                    clean(&mut function.attrs);
                    function.block = empty();
                } else if let ImplItem::Const(constant) = inner {
                    clean(&mut constant.attrs);
                }
            }
            if !is_of_trait && one.items.is_empty() {
                return None;
            }
        }
        // What it expands to is its own business, that it is there is not.
        Item::Macro(one) if one.ident.is_some() => {
            clean(&mut one.attrs);
            if one.attrs.is_empty() {
                return None;
            }
            one.mac.tokens = Default::default();
        }
        // Names that a macro makes are in what it is given.
        Item::Macro(_) => {}
        _ => return None,
    }
    Some(item)
}
