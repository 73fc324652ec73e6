//! The kinds of plugin that can be made. A kind is a list of template folders, of which a later one adds to the ones before.

use std::path::Path;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

/// What a new plugin is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PluginKind")]
pub enum Kind {
    /// Asks a server over HTTP, in Rust.
    Http,
    /// Computes in its own process, in Rust.
    Local,
    /// In C, against the header alone.
    C,
    /// In Python, in a process of its own; nothing is built.
    Script,
}

impl Kind {
    /// Its folders of templates.
    pub(super) const fn templates(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["rust", "http"],
            Self::Local => &["rust", "local"],
            Self::C => &["c"],
            Self::Script => &["script"],
        }
    }

    /// The parts of the SDK that lie beside the plugin: files, or folders by a slash at the end.
    pub(super) const fn sdk(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Local => &[""],
            Self::C => &["include/", "docs/"],
            Self::Script => &["docs/", "examples/raw.py"],
        }
    }

    /// What is typed next, to build the plugin in `folder`, or to test what is not built, and to run it.
    pub fn next_commands(self, folder: &Path) -> [String; 2] {
        let folder = folder.display();
        let (build, built) = match self {
            Self::Http | Self::Local => (
                format!("cargo build --release --manifest-path {folder}/Cargo.toml"),
                "/target/release",
            ),
            Self::C => (format!("make -C {folder}"), "/build"),
            Self::Script => (format!("python3 -m unittest discover -s {folder}/tests"), ""),
        };
        [build, format!("host run {folder}/run.toml --plugin-dir {folder}{built}")]
    }
}
