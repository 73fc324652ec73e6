//! `host plugin new`: from a name to a plugin that builds, is tested and runs as it stands.

use std::path::Path;

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::{args::PluginNewArgs, done::Done};
use crate::{
    printer::Printer,
    run::error::exit,
    scaffold::{files::files, kind::Kind, sdk::Sdk, write::write},
};

/// A plugin that was made, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "plugin_new")]
pub(super) struct NewPluginRecord<'a> {
    /// Its id.
    id: &'a str,
    /// What it is like.
    kind: Kind,
    /// Its folder.
    path: String,
    /// Its files in that folder, but for those of the SDK.
    files: Vec<&'a str>,
    /// What is typed next, to build it and to run it.
    next: &'a [String],
}

/// Makes it, and says what to do with it.
pub(super) fn new(args: &PluginNewArgs, printer: &Printer) -> anyhow::Result<Done> {
    let sdk = args.sdk.as_deref().map_or(Ok(Sdk::Beside), Sdk::at)?;
    let folder = args.path.as_deref().unwrap_or_else(|| Path::new(args.name.as_str()));
    let files = files(args.kind, &args.name, &sdk)
        .context("the templates in this program are damaged; install it anew")?;
    write(folder, &files)?;
    let next = args.kind.next_commands(folder);
    let own: Vec<&str> =
        files.iter().filter(|file| !file.of_sdk).map(|file| file.path.as_str()).collect();
    printer.data(
        &own.iter().map(|file| format!("{}\n", folder.join(file).display())).collect::<String>(),
    );
    printer.note(&format!("next:\n  {}", next.join("\n  ")));
    printer.record(&NewPluginRecord {
        id: args.name.as_str(),
        kind: args.kind,
        path: folder.display().to_string(),
        files: own,
        next: &next,
    });
    Ok(exit::DONE.into())
}
