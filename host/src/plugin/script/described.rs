//! What a `NAME.plugin.toml` says: the same as a library's manifest, and the command. Pure; opens no file.

use std::path::{Component, Path};

use plugin_api::{
    capability::Capability,
    manifest::{AbiFloor, Declared, Limits, Manifest, SecretSlot},
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::plugin::inspect;

/// How the names of these files end.
const ENDING: &str = ".plugin.toml";
/// Stands for the plugin's own folder at the beginning of a word of the command.
const FOLDER: &str = "{folder}";
/// The format of these files.
const FORMAT: u32 = 1;

/// Whether a file of this name tells of a script.
pub fn is_script(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.len() > ENDING.len() && name.ends_with(ENDING))
}

/// Why a script's description, or what it names, cannot be used.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Not TOML, an unknown key, a value of the wrong type.
    #[error("line {line}: {message}")]
    Toml {
        /// From 1.
        line: usize,
        /// The key, and what was expected.
        message: String,
    },
    /// A value that makes no sense.
    #[error("{key}: {message}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was expected, and what there is.
        message: String,
    },
    /// What holds for every manifest.
    #[error(transparent)]
    Manifest(#[from] inspect::Refusal),
    /// A file that it names.
    #[error("{name}: {source}")]
    File {
        /// As it is named.
        name: String,
        /// What is wrong with it.
        source: Box<super::super::discover::Refusal>,
    },
}

/// How a script is run, and of which files it consists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its arguments as they are written.
    pub command: Vec<String>,
    /// Every file that it names, relative to its folder, sorted; without its description.
    pub files: Vec<String>,
}

/// A description that was read.
pub(super) struct Described {
    /// The manifest; its schema is still missing if it lies in a file.
    pub(super) manifest: Manifest,
    pub(super) script: Script,
    /// The file that the schema lies in.
    pub(super) schema_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: Kind,
    format: u32,
    version: String,
    abi: String,
    #[serde(default)]
    license: String,
    #[serde(default)]
    homepage: String,
    command: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    id: String,
    #[serde(default)]
    capabilities: Vec<Capability>,
    #[serde(default)]
    secrets: Vec<RawSlot>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    reply_headers: Vec<String>,
    config_schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Script,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlot {
    slot: String,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    origins: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    max_batch: Option<u32>,
    max_concurrency: Option<u32>,
    #[serde(default)]
    blocking: bool,
}

/// Reads a description.
///
/// # Errors
/// Says the line or the key, and what was expected.
pub(super) fn read(text: &str) -> Result<Described, Refusal> {
    let raw = parse(text)?;
    // The only one that there is.
    let Kind::Script = raw.kind;
    if raw.format != FORMAT {
        let message = format!("this host reads {FORMAT}, and it is {}", raw.format);
        return Err(Refusal::Value { key: "format", message });
    }
    if raw.version.is_empty() {
        return Err(Refusal::Value { key: "version", message: "must not be empty".into() });
    }
    let mut files = Vec::new();
    for (index, word) in raw.command.iter().enumerate() {
        files.extend(named(word, index == 0).map(|name| ("command", name)));
    }
    if raw.command.first().is_none_or(String::is_empty) {
        return Err(Refusal::Value { key: "command", message: "names no program".into() });
    }
    files.extend(raw.files.iter().map(|name| ("files", name.as_str())));
    let (config_schema, schema_file) = match raw.config_schema {
        Some(Value::String(name)) => (Value::Null, Some(name)),
        Some(schema @ Value::Object(_)) => (schema, None),
        Some(_) => {
            let message = "expected a table, or the name of a JSON file".to_owned();
            return Err(Refusal::Value { key: "config_schema", message });
        }
        None => (serde_json::json!({ "type": "object", "properties": {} }), None),
    };
    files.extend(schema_file.iter().map(|name| ("config_schema", name.as_str())));
    for (key, name) in &files {
        check_name(key, name)?;
    }
    let mut files: Vec<String> =
        files.into_iter().map(|(_, name)| plain(name).to_owned()).collect();
    files.sort_unstable();
    files.dedup();
    let slot = |raw: RawSlot| SecretSlot {
        slot: raw.slot,
        env: raw.env,
        files: raw.files,
        optional: raw.optional,
        origins: raw.origins,
    };
    let limits = Limits::default();
    let manifest = Manifest {
        format: FORMAT,
        version: raw.version,
        abi: floor(&raw.abi)?,
        sdk: String::new(),
        rustc: String::new(),
        license: raw.license,
        homepage: raw.homepage,
        layout_check: false,
        plugin: Declared {
            id: raw.id,
            capabilities: raw.capabilities,
            secrets: raw.secrets.into_iter().map(slot).collect(),
            env: raw.env,
            origins: raw.origins,
            limits: Limits {
                max_batch: raw.limits.max_batch.unwrap_or(limits.max_batch),
                max_concurrency: raw.limits.max_concurrency.unwrap_or(limits.max_concurrency),
                blocking: raw.limits.blocking,
            },
            reply_headers: raw.reply_headers,
        },
        config_schema,
    };
    inspect::check_manifest(&manifest)?;
    let schema_file = schema_file.map(|name| plain(&name).to_owned());
    Ok(Described { manifest, script: Script { command: raw.command, files }, schema_file })
}

fn parse(text: &str) -> Result<Raw, Refusal> {
    let at = |error: &toml::de::Error, path: Option<String>| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let path = path.filter(|path| path != ".").map(|path| format!("{path}: "));
        Refusal::Toml {
            line: before.matches('\n').count() + 1,
            message: format!("{}{}", path.unwrap_or_default(), error.message()),
        }
    };
    let document = toml::Deserializer::parse(text).map_err(|error| at(&error, None))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        at(error.inner(), Some(path))
    })
}

fn floor(text: &str) -> Result<AbiFloor, Refusal> {
    let parts = text.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
    let Some((Ok(major), Ok(minor))) = parts else {
        let message = format!("expected two numbers as in \"1.0\", found {text:?}");
        return Err(Refusal::Value { key: "abi", message });
    };
    Ok(AbiFloor { major, minor })
}

/// The file in the plugin's folder that a word of the command names, if it does. The program itself may do so without
/// naming the folder: a name without a slash is looked for in `PATH`, as shells do.
fn named(word: &str, is_program: bool) -> Option<&str> {
    let below = word.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
    let beside = || (is_program && word.contains('/') && !word.starts_with('/')).then_some(word);
    below.or_else(beside)
}

/// A name without a leading `./`.
fn plain(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

fn check_name(key: &'static str, name: &str) -> Result<(), Refusal> {
    let inside = !plain(name).is_empty()
        && !plain(name).ends_with('/')
        && Path::new(plain(name)).components().all(|part| matches!(part, Component::Normal(_)));
    if inside {
        return Ok(());
    }
    let message = format!("{name:?} is not the name of a file in the plugin's own folder");
    Err(Refusal::Value { key, message })
}

impl Script {
    /// The program, and its arguments, once its files lie in `folder`.
    pub fn command_in(&self, folder: &Path) -> (String, Vec<String>) {
        let place = |index: usize, word: &String| match named(word, index == 0) {
            Some(name) => folder.join(plain(name)).display().to_string(),
            None if word == FOLDER => folder.display().to_string(),
            None => word.clone(),
        };
        let mut words = self.command.iter().enumerate().map(|(index, word)| place(index, word));
        (words.next().unwrap_or_default(), words.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "kind = \"script\"\nformat = 1\nversion = \"1.2\"\nabi = \"1.0\"\nid = \"acme\"\n\
                         command = [\"python3\", \"{folder}/acme.py\", \"-x\", \"{folder}\"]\n";

    #[test]
    fn a_description_becomes_a_manifest_and_a_command() {
        let text = format!(
            "{LEAST}files = [\"./lib/b.py\", \"a.py\"]\ncapabilities = [\"generate\"]\nreply_headers = [\"retry-after\"]\n\
             config_schema = \"acme.schema.json\"\n[limits]\nmax_batch = 4\n[[secrets]]\nslot = \"key\"\n"
        );
        let read = read(&text).unwrap();
        let (manifest, script) = (read.manifest, read.script);
        assert_eq!(
            (manifest.version.as_str(), manifest.abi),
            ("1.2", AbiFloor { major: 1, minor: 0 })
        );
        assert_eq!(manifest.plugin.limits, Limits { max_batch: 4, ..Limits::default() });
        assert_eq!(manifest.plugin.secrets[0].slot, "key");
        assert_eq!(read.schema_file.as_deref(), Some("acme.schema.json"));
        assert_eq!(script.files, ["a.py", "acme.py", "acme.schema.json", "lib/b.py"]);
        let (program, arguments) = script.command_in(Path::new("/copy"));
        assert_eq!(program, "python3");
        assert_eq!(arguments, ["/copy/acme.py", "-x", "/copy"]);
    }

    #[test]
    fn the_program_is_absolute_in_path_or_in_the_folder() {
        for (program, expected, file) in [
            ("/usr/bin/env", "/usr/bin/env", None),
            ("node", "node", None),
            ("./acme", "/copy/acme", Some("acme")),
            ("bin/acme", "/copy/bin/acme", Some("bin/acme")),
            ("{folder}/acme", "/copy/acme", Some("acme")),
        ] {
            let text =
                LEAST.replace("\"python3\", \"{folder}/acme.py\"", &format!("\"{program}\""));
            let script = read(&text).unwrap().script;
            assert_eq!(script.command_in(Path::new("/copy")).0, expected);
            assert_eq!(script.files.first().map(String::as_str), file);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_line_or_key() {
        for (from, to, expected) in [
            ("version", "versoin", "line 3: versoin: unknown field `versoin`, expected one of"),
            (
                "\"script\"",
                "\"library\"",
                "line 1: kind: unknown variant `library`, expected `script`",
            ),
            ("= 1\n", "= 2\n", "format: this host reads 1, and it is 2"),
            ("\"1.0\"", "\"one\"", "abi: expected two numbers as in \"1.0\", found \"one\""),
            ("\"1.0\"", "\"1.99\"", "needs ABI 1.99"),
            ("\"acme\"", "\"Acme\"", "the manifest's id \"Acme\" is not made of"),
            ("\"python3\"", "\"../python3\"", "command: \"../python3\" is not the name of a file"),
            ("{folder}/acme.py", "{folder}/../acme.py", "command: \"../acme.py\" is not the name"),
            ("{folder}/acme.py", "{folder}//etc/x", "command: \"/etc/x\" is not the name"),
            ("[\"python3\", ", "[\"\", ", "command: names no program"),
            ("id = ", "files = [\"/etc/passwd\"]\nid = ", "files: \"/etc/passwd\" is not the name"),
            ("id = ", "config_schema = 3\nid = ", "config_schema: expected a table"),
            ("id = ", "limits.max_bach = 3\nid = ", "line 5: limits.max_bach: unknown field"),
            ("kind = ", "kind == ", "line 1: "),
        ] {
            let text = LEAST.replacen(from, to, 1);
            assert_ne!(text, LEAST);
            let error = read(&text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
        }
    }

    #[test]
    fn a_script_is_told_by_its_name() {
        for (name, is) in [
            ("acme.plugin.toml", true),
            ("/x/acme.plugin.toml", true),
            ("plugin.toml", false),
            (".plugin.toml", false),
            ("acme.toml", false),
        ] {
            assert_eq!(is_script(Path::new(name)), is, "{name}");
        }
    }
}
