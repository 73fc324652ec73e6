//! The files of a new plugin. A template is a plugin called `my-plugin` that holds together as it stands; a new one is the
//! same under another name, in three spellings, and with its SDK where that lies.

use std::io;

use super::{
    kind::Kind,
    name::PluginName,
    packed::{self, SDK},
    sdk::{BESIDE, Sdk},
};

/// A name that only tells cargo or git to leave a template alone ends so.
const INERT: &str = ".in";

/// One file of a new plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its path in the plugin's folder, with slashes.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it is part of the SDK, and none of the author's business.
    pub of_sdk: bool,
}

/// All files of a new plugin.
///
/// # Errors
/// What is packed into this binary is damaged.
pub fn files(kind: Kind, name: &PluginName, sdk: &Sdk) -> io::Result<Vec<NewFile>> {
    let (of_crate, of_variable) = (name.of_crate(), name.of_variable());
    let mut spellings = vec![
        ("my-plugin", name.as_str()),
        ("my_plugin", of_crate.as_str()),
        ("MY_PLUGIN", of_variable.as_str()),
    ];
    if let Sdk::At(path) = sdk {
        spellings.push((BESIDE, path));
    }
    let mut files = Vec::new();
    for folder in kind.templates() {
        for template in packed::files(&format!("templates/{folder}/"))? {
            let path = replace(&template.path, &spellings);
            files.push(NewFile {
                path: path.strip_suffix(INERT).unwrap_or(&path).to_owned(),
                content: replace(&String::from_utf8_lossy(&template.content), &spellings).into(),
                of_sdk: false,
            });
        }
    }
    if *sdk == Sdk::Beside {
        let parts = kind.sdk();
        let packed = packed::files(SDK)?.into_iter();
        let wanted = packed.filter(|file| parts.iter().any(|part| file.path.starts_with(part)));
        files.extend(wanted.map(|file| NewFile {
            path: format!("{BESIDE}/{}", file.path),
            content: file.content,
            of_sdk: true,
        }));
    }
    Ok(files)
}

/// The text with each `(from, to)` replaced, once: what has been put in is not looked at again.
fn replace(text: &str, spellings: &[(&str, &str)]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let found = spellings.iter().filter_map(|(from, to)| Some((rest.find(from)?, *from, *to)));
        let Some((at, from, to)) = found.min_by_key(|(at, ..)| *at) else { break };
        let (before, after) = rest.split_at(at);
        replaced.push_str(before);
        replaced.push_str(to);
        rest = after.strip_prefix(from).unwrap_or(after);
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use plugin_api::manifest::Declared;

    use super::*;

    const KINDS: [Kind; 4] = [Kind::Http, Kind::Local, Kind::C, Kind::Script];

    fn made(kind: Kind, sdk: &Sdk) -> Vec<NewFile> {
        files(kind, &"acme-2".parse().unwrap(), sdk).unwrap()
    }

    fn text<'a>(files: &'a [NewFile], path: &str) -> &'a str {
        let file = files.iter().find(|file| file.path == path);
        let file = file.unwrap_or_else(|| panic!("no {path}"));
        std::str::from_utf8(&file.content).unwrap()
    }

    #[test]
    fn what_was_put_in_is_not_looked_at_again() {
        let spellings = [("my-plugin", "my_plugin-2"), ("my_plugin", "x")];
        assert_eq!(replace("a my-plugin, my_plugin.", &spellings), "a my_plugin-2, x.");
    }

    #[test]
    fn every_kind_has_what_an_author_needs_under_its_own_name() {
        for kind in KINDS {
            let files = made(kind, &Sdk::Beside);
            for file in files.iter().filter(|file| !file.of_sdk) {
                let content = String::from_utf8(file.content.clone()).unwrap();
                let both = format!("{}\n{content}", file.path);
                for left in ["my-plugin", "my_plugin", "MY_PLUGIN"] {
                    assert!(!both.contains(left), "{kind:?} {}", file.path);
                }
            }
            for path in ["README.md", "run.toml", "data.jsonl", ".gitignore"] {
                assert!(!text(&files, path).is_empty());
            }
            let ci = text(&files, ".github/workflows/ci.yml");
            assert!(ci.contains(if kind == Kind::Script { "unittest" } else { "libacme_2.so" }));
            assert!(text(&files, "run.toml").contains("plugin = \"acme-2\""));
            assert!(text(&files, "sdk/plugin-api/docs/script.md").contains("Frames"));
            let paths: std::collections::BTreeSet<_> =
                files.iter().map(|file| &file.path).collect();
            assert_eq!(paths.len(), files.len(), "{kind:?}");
            if matches!(kind, Kind::Http | Kind::Local) {
                let declared: Declared = serde_json::from_str(text(&files, "plugin.json")).unwrap();
                assert_eq!(declared.id, "acme-2");
            }
        }
    }

    #[test]
    fn the_sdk_beside_it_is_that_of_this_tree_without_what_only_the_tree_needs() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api");
        let mut seen = 0;
        for file in made(Kind::Http, &Sdk::Beside) {
            let Some(path) = file.path.strip_prefix("sdk/plugin-api/") else { continue };
            let own = fs::read(tree.join(path)).unwrap();
            seen += 1;
            if path.ends_with("Cargo.toml") {
                let manifest: toml::Table = text_of(&file).parse().unwrap();
                assert!(manifest.contains_key("package") && manifest.contains_key("lints"));
                for cut in ["dev-dependencies", "bench"] {
                    assert!(!manifest.contains_key(cut), "{path}: {cut}");
                }
                assert!(!text_of(&file).contains("workspace = true"), "{path}");
            } else {
                assert!(file.content == own, "{path}");
            }
            assert!(!path.starts_with("tests") && !path.starts_with("benches"), "{path}");
        }
        assert_eq!(seen, count(&tree) - count(&tree.join("tests")) - count(&tree.join("benches")));
    }

    /// Files below a folder; editors' and cargo's own are not there.
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }

    fn text_of(file: &NewFile) -> &str {
        std::str::from_utf8(&file.content).unwrap()
    }

    #[test]
    fn an_sdk_elsewhere_is_named_and_not_copied() {
        for kind in KINDS {
            let files = made(kind, &Sdk::At("/elsewhere/plugin-api".into()));
            assert!(files.iter().all(|file| !file.of_sdk && !file.path.starts_with("sdk")));
            let file = match kind {
                Kind::Http | Kind::Local => "Cargo.toml",
                Kind::C => "Makefile",
                // It has all that it needs.
                Kind::Script => continue,
            };
            assert!(text(&files, file).contains("/elsewhere/plugin-api"), "{kind:?}");
        }
    }
}
