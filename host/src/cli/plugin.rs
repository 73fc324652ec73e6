//! `host plugin`. What only looks at plugins, `list` and `inspect`, stands here: none of the plugins' code runs.

use std::{env, fs, path::Path};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    args::{LockArgs, PluginCommand, PluginDirs},
    done::Done,
    plugin_check, plugin_lock, plugin_new,
    plugin_standing::Standing,
};
use crate::{
    asset::Sha256,
    plugin::{
        compiler,
        discover::{self, Candidate, Discovery, Provenance, Refusal},
        inspect::{self, Inspection},
        lock::entry::{ANY, platform},
        script::{Script, is_script},
    },
    printer::Printer,
    report::table,
    run::error::exit,
};
use plugin_api::manifest::Manifest;

/// Does what is asked.
pub(super) fn main(command: &PluginCommand, printer: &Printer) -> Done {
    let result = match command {
        PluginCommand::List { plugins } => list(plugins, printer),
        PluginCommand::Inspect { file, lock } => inspect(file, lock, printer),
        PluginCommand::Check(args) => plugin_check::check(args, printer),
        PluginCommand::New(args) => plugin_new::new(args, printer),
        PluginCommand::Lock(args) => return plugin_lock::main(args, printer),
    };
    result.unwrap_or_else(|error| Done::failed(printer, &error, exit::USAGE))
}

/// Everything that is found in the folders of this command line.
pub(super) fn find(dirs: &PluginDirs) -> anyhow::Result<Discovery> {
    let executable = env::current_exe().context("cannot tell where this program lies")?;
    let variable = env::var_os("HOST_PLUGIN_DIR");
    let path = discover::search_path(&dirs.plugin_dirs, variable.as_deref(), Some(&executable))?;
    Ok(discover::discover(&path))
}

/// What is told of plugins, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum PluginRecord<'a> {
    /// One that is found.
    Plugin {
        /// Its file.
        path: String,
        /// Whether it came with this host.
        installed: bool,
        /// What it says of itself.
        #[schemars(with = "Map<String, Value>")]
        manifest: &'a Manifest,
    },
    /// A file that was inspected.
    PluginFile {
        /// The file.
        path: String,
        /// Its digest.
        sha256: String,
        /// Its size; that of a script is of all its files.
        bytes: usize,
        /// What the lock file says of it, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        lock: Option<&'a Standing>,
        /// What is known against the compiler that built it.
        #[serde(skip_serializing_if = "Option::is_none")]
        compiler_fault: Option<&'a str>,
        /// What it says of itself.
        #[schemars(with = "Map<String, Value>")]
        manifest: &'a Manifest,
        /// A script's command, as it is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<&'a [String]>,
        /// The files that a script consists of, beside its description.
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<&'a [String]>,
    },
    /// A file that is not used.
    PluginRefused {
        /// The file.
        path: String,
        /// Why.
        refused: String,
    },
}

fn list(dirs: &PluginDirs, printer: &Printer) -> anyhow::Result<Done> {
    let discovery = find(dirs)?;
    let mut table = table::plain(printer.width());
    table.set_header(["plugin", "version", "capabilities", "file"]);
    for candidate in &discovery.plugins {
        printer.record(&PluginRecord::Plugin {
            path: candidate.path.display().to_string(),
            installed: candidate.provenance == Provenance::Installed,
            manifest: &candidate.inspection.manifest,
        });
        table.add_row(row(candidate));
        let rustc = &candidate.inspection.manifest.rustc;
        if let Some(warning) = compiler::warning(candidate.id(), rustc) {
            printer.warn(&warning);
        }
    }
    for refused in &discovery.refused {
        let path = refused.path.display().to_string();
        printer.warn(&format!("not used: {path}: {}", refused.reason));
        printer.record(&PluginRecord::PluginRefused { path, refused: refused.reason.to_string() });
    }
    for seen in &discovery.seen_twice {
        printer.note(&format!("{} is {} once more", seen.path.display(), seen.first.display()));
    }
    if discovery.plugins.is_empty() {
        printer.note("no plugins found; name their folder by --plugin-dir or HOST_PLUGIN_DIR");
    } else {
        printer.data(&format!("{table}\n"));
    }
    Ok(exit::DONE.into())
}

fn row(candidate: &Candidate) -> [String; 4] {
    let manifest = &candidate.inspection.manifest;
    let capabilities: Vec<&str> =
        manifest.plugin.capabilities.iter().map(|capability| capability.as_str()).collect();
    [
        candidate.id().to_owned(),
        manifest.version.clone(),
        capabilities.join(", "),
        candidate.path.display().to_string(),
    ]
}

/// A file that was looked into.
struct Looked {
    inspection: Inspection,
    digest: Sha256,
    bytes: usize,
    script: Option<Script>,
}

/// Looks into a file. The inner error is the file's own fault.
fn look(file: &Path) -> anyhow::Result<Result<Looked, Refusal>> {
    let unreadable = || format!("cannot read {}", file.display());
    if is_script(file) {
        fs::metadata(file).with_context(unreadable)?;
        return Ok(discover::inspect_script(file).map(|files| Looked {
            digest: Sha256::of(files.sums().as_bytes()),
            bytes: files.bytes(),
            inspection: files.inspection,
            script: Some(files.script),
        }));
    }
    let bytes = fs::read(file).with_context(unreadable)?;
    let looked = |inspection| Looked {
        inspection,
        digest: Sha256::of(&bytes),
        bytes: bytes.len(),
        script: None,
    };
    Ok(inspect::inspect(&bytes).map(looked).map_err(Refusal::from))
}

fn inspect(file: &Path, lock: &LockArgs, printer: &Printer) -> anyhow::Result<Done> {
    let Looked { inspection, digest, bytes, script } = match look(file)? {
        Ok(looked) => looked,
        Err(refusal) => {
            printer.record(&PluginRecord::PluginRefused {
                path: file.display().to_string(),
                refused: refusal.to_string(),
            });
            let error = anyhow::anyhow!("{}: {refusal}", file.display());
            return Ok(Done::failed(printer, &error, exit::PLUGIN));
        }
    };
    let manifest = &inspection.manifest;
    let (path, sha256) = (file.display().to_string(), digest.to_string());
    let platform = script.as_ref().map_or_else(platform, |_| ANY.to_owned());
    let standing = Standing::of(&manifest.plugin, digest, &platform, &lock.choice());
    let standing = standing.unwrap_or_else(|error| {
        printer.warn(&super::in_words(&error));
        None
    });
    if let Some(warning) = compiler::warning(&manifest.plugin.id, &manifest.rustc) {
        printer.warn(&warning);
    }
    printer.record(&PluginRecord::PluginFile {
        path: path.clone(),
        sha256: sha256.clone(),
        bytes,
        lock: standing.as_ref(),
        compiler_fault: compiler::known_fault(&manifest.rustc),
        manifest,
        command: script.as_ref().map(|script| script.command.as_slice()),
        files: script.as_ref().map(|script| script.files.as_slice()),
    });
    let mut table = table::plain(printer.width());
    table.set_header(["plugin", &manifest.plugin.id]);
    for (key, value) in facts(manifest, &path, &sha256, bytes, script.as_ref()) {
        table.add_row([key.to_owned(), value]);
    }
    let said = standing.map_or_else(|| "there is none".to_owned(), |standing| standing.in_words());
    table.add_row(["lock file".to_owned(), said]);
    printer.data(&format!("{table}\n"));
    Ok(exit::DONE.into())
}

/// What the file says, and what it asks for, in words.
fn facts(
    manifest: &Manifest,
    path: &str,
    sha256: &str,
    bytes: usize,
    script: Option<&Script>,
) -> Vec<(&'static str, String)> {
    let declared = &manifest.plugin;
    let or_none =
        |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join("\n") };
    let secrets = declared.secrets.iter().map(|slot| {
        let from = slot.env.iter().map(|name| format!("${name}")).chain(slot.files.iter().cloned());
        let need = if slot.optional { "optional" } else { "needed" };
        let origins = if slot.origins.is_empty() {
            "only where the run file grants it".to_owned()
        } else {
            slot.origins.join(", ")
        };
        format!(
            "{} ({need}), from {}; goes to: {origins}",
            slot.slot,
            from.collect::<Vec<_>>().join(", ")
        )
    });
    let keys =
        manifest.config_schema.get("properties").and_then(|properties| properties.as_object());
    let keys =
        keys.map(|keys| keys.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
    let limits = declared.limits;
    let mut facts = vec![
        ("file", path.to_owned()),
        ("size", format!("{bytes} bytes")),
        ("sha256", sha256.to_owned()),
        ("version", manifest.version.clone()),
        ("needs ABI", format!("{}.{}", manifest.abi.major, manifest.abi.minor)),
        ("built with", built_with(manifest)),
        ("licence", manifest.license.clone()),
        ("homepage", manifest.homepage.clone()),
        ("layout check", if manifest.layout_check { "yes" } else { "no" }.to_owned()),
        ("capabilities", or_none(declared.capabilities.iter().map(ToString::to_string).collect())),
        ("secrets", or_none(secrets.collect())),
        ("environment", or_none(declared.env.clone())),
        ("origins", or_none(declared.origins.clone())),
        (
            "limits",
            format!(
                "{} items a batch, {} at once{}",
                limits.max_batch,
                if limits.max_concurrency == 0 {
                    "any number".to_owned()
                } else {
                    limits.max_concurrency.to_string()
                },
                if limits.blocking { ", computes on threads of its own" } else { "" }
            ),
        ),
        ("configuration", if keys.is_empty() { "none".to_owned() } else { keys }),
    ];
    // A script was not built, and a library in C need not say of what.
    facts.retain(|(key, value)| *key != "built with" || script.is_none() && !value.is_empty());
    if let Some(script) = script {
        facts.retain(|(key, _)| *key != "layout check");
        facts.push(("command", script.command.join(" ")));
        facts.push(("files", or_none(script.files.clone())));
    }
    facts
}

/// What the manifest says of SDK and compiler, as far as it does.
fn built_with(manifest: &Manifest) -> String {
    let sdk = (!manifest.sdk.is_empty()).then(|| format!("SDK {}", manifest.sdk));
    let compiler = Some(manifest.rustc.clone()).filter(|rustc| !rustc.is_empty());
    sdk.into_iter().chain(compiler).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_no_sdk_is_built_with_what_it_says() {
        let built_with = |more: &str| {
            let manifest = format!(
                r#"{{"format":1,"version":"1","abi":{{"major":1,"minor":0}},"plugin":{{"id":"a"}}{more}}}"#
            );
            let manifest: Manifest = plugin_api::serde_json::from_str(&manifest).unwrap();
            let facts = facts(&manifest, "a.so", "00", 1, None);
            facts.into_iter().find(|(key, _)| *key == "built with").map(|(_, value)| value)
        };
        assert_eq!(built_with(""), None);
        assert_eq!(built_with(r#","rustc":"rustc 1.90""#).as_deref(), Some("rustc 1.90"));
        let both = built_with(r#","rustc":"rustc 1.90","sdk":"0.1.0""#);
        assert_eq!(both.as_deref(), Some("SDK 0.1.0, rustc 1.90"));
    }
}
