//! `host show`: a run file as it is meant, or what would be asked about one of its samples.

use std::{env, fmt::Write as _, path::PathBuf};

use plugin_api::Error;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::ShowArgs,
    done::Done,
    run::{discover, surroundings},
    run_mock::RunMock,
};
use crate::{
    config::{self, Overrides, RunFile, as_toml},
    plugin::discover::Discovery,
    printer::Printer,
    run::{
        error::exit,
        preview::{Preview, PreviewError, Wanted, preview},
    },
    secret::{Lookup, Secrets},
    task::{prompt::Prompt, render::Form},
    transport::Seen,
};

/// Shows the file, or a sample.
pub(super) fn main(args: &ShowArgs, printer: &Printer) -> Done {
    let discovery = match discover(&args.plugins, false, printer) {
        Ok(discovery) => discovery,
        Err(done) => return done,
    };
    let changes = Overrides {
        sets: args.sets.clone(),
        profile: args.profile.clone(),
        ..Overrides::default()
    };
    let variable = |name: &str| env::var(name).ok();
    let file = match config::load(&args.file, &changes, &variable) {
        Ok(file) => file,
        Err(error) => return Done::failed(printer, &error.into(), exit::USAGE),
    };
    hide_secrets(&file, &discovery, printer);
    match &args.sample {
        None => {
            let settings = file.shown(&|plugin| discovery.config_schema(plugin), &variable);
            settings.iter().for_each(|setting| printer.record(setting));
            printer.data(&as_toml(&settings));
            exit::DONE.into()
        }
        Some(sample) => match show_sample(&file, &discovery, sample, args, printer) {
            Ok(()) => exit::DONE.into(),
            Err((error, code)) => Done::failed(printer, &error, code),
        },
    }
}

/// Whatever way a key came into a value that is shown, it is not shown.
fn hide_secrets(file: &RunFile, discovery: &Discovery, printer: &Printer) {
    let home = env::var_os("HOME").map(PathBuf::from);
    let variable = |name: &str| env::var(name).ok();
    let lookup = Lookup { variable: &variable, home: home.as_deref() };
    for backend in &file.config.backends {
        let plugin = discovery.plugins.iter().find(|found| found.id() == backend.plugin);
        let declared = plugin.map(|found| found.inspection.manifest.plugin.secrets.as_slice());
        for slot in declared.unwrap_or_default().iter().chain(&backend.slots) {
            // What cannot be read cannot be shown either.
            if let Ok(secrets) = Secrets::resolve(std::slice::from_ref(slot), &lookup) {
                printer.hide(secrets.iter());
            }
        }
    }
}

fn show_sample(
    file: &RunFile,
    discovery: &Discovery,
    sample: &str,
    args: &ShowArgs,
    printer: &Printer,
) -> Result<(), (anyhow::Error, u8)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (error.into(), exit::INTERNAL))?;
    let variable = |name: &str| env::var(name).ok();
    let mock = RunMock::default();
    let around = surroundings(&variable, &mock, &args.trust.choice(), printer);
    let (task, backend) = (args.task.as_deref(), args.backend.as_deref());
    let wanted = Wanted { sample, task, backend };
    let previews = runtime.block_on(preview(file, discovery, around, wanted));
    let previews = previews.map_err(|error| {
        let code = match &error {
            PreviewError::Run(error) => error.exit_code(),
            _ => exit::USAGE,
        };
        (error.into(), code)
    })?;
    for (index, preview) in previews.iter().enumerate() {
        printer.record(&Record::of(preview));
        let space = if index == 0 { "" } else { "\n" };
        printer.data(&format!("{space}{}", in_words(preview)));
    }
    Ok(())
}

/// A preview as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "preview")]
pub(super) struct Record<'a> {
    /// Id of the task.
    task: &'a str,
    /// Id of the backend.
    backend: &'a str,
    /// Id of the sample.
    sample: &'a str,
    /// Position of its record in the data set, from 0.
    index: u64,
    /// BLAKE3 of its record.
    digest: String,
    /// Whether the task is asked as its `fallback` says.
    fallback: bool,
    /// The prompt.
    prompt: &'a Prompt,
    /// What is asked after it, and what is right.
    form: &'a Form,
    /// What the plugin sends.
    requests: &'a [Seen],
    /// Why there may be more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

impl<'a> Record<'a> {
    fn of(preview: &'a Preview) -> Self {
        let Preview { unit, prepared, is_fallback, requests, stopped, .. } = preview;
        Self {
            task: &unit.task,
            backend: &unit.backend,
            sample: &prepared.sample.id.0,
            index: prepared.sample.index,
            digest: prepared.sample.digest.to_string(),
            fallback: *is_fallback,
            prompt: &prepared.rendered.prompt,
            form: &prepared.rendered.form,
            requests,
            stopped: stopped.as_ref().map(|error| error.message.clone()),
        }
    }
}

fn in_words(preview: &Preview) -> String {
    let Preview { unit, prepared, is_fallback, is_computed, requests, stopped } = preview;
    let mut text = format!(
        "{unit}, sample {} (record {} of the data set)\n\n",
        prepared.sample.id, prepared.sample.index
    );
    if *is_fallback {
        text.push_str(
            "The backend has no log-likelihood: the task is asked as its `fallback` says.\n\n",
        );
    }
    match &prepared.rendered.prompt {
        Prompt::Text(prompt) => block("prompt", prompt, &mut text),
        Prompt::Chat(chat) => {
            for message in &chat.messages {
                let role = format!("{:?}", message.role).to_lowercase();
                block(&role, &message.text, &mut text);
            }
            if let Some(prefix) = &chat.generation_prefix {
                block("beginning of the reply", prefix, &mut text);
            }
        }
    }
    form(&prepared.rendered.form, &mut text);
    for (number, request) in (1..).zip(requests) {
        let sent = if request.sent { "sent to the mock" } else { "not sent" };
        let _ = writeln!(text, "request {number} ({sent}): {} {}", request.method, request.url);
        for (name, value) in &request.headers {
            let _ = writeln!(text, "  {name}: {value}");
        }
        let body = match &request.body {
            serde_json::Value::String(body) => body.clone(),
            body => serde_json::to_string_pretty(body).unwrap_or_default(),
        };
        for line in body.lines() {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    text.push_str(&ending(requests, *is_computed, stopped.as_ref()));
    text
}

/// A text with its lines set in; a space at its end is seen by the bar after it.
fn block(name: &str, content: &str, text: &mut String) {
    let _ = writeln!(text, "{name}");
    for line in content.split('\n') {
        let _ = writeln!(text, "  {line}│");
    }
    text.push('\n');
}

fn form(form: &Form, text: &mut String) {
    match form {
        Form::MultipleChoice(choice) => {
            let _ = writeln!(text, "continuations");
            for (index, continuation) in choice.continuations.iter().enumerate() {
                let right = if choice.gold.contains(&index) { "  (right)" } else { "" };
                let _ = writeln!(text, "  {index} {continuation:?}{right}");
            }
        }
        Form::Generate(generate) => {
            let _ = writeln!(text, "right answers");
            for reference in &generate.references {
                let _ = writeln!(text, "  {reference:?}");
            }
        }
        Form::Rolling { text: whole } => return block("text", whole, text),
    }
    text.push('\n');
}

/// Whether that is all.
fn ending(requests: &[Seen], is_computed: bool, stopped: Option<&Error>) -> String {
    match stopped {
        _ if is_computed => "The plugin computes by itself: nothing is sent.\n".to_owned(),
        None => "That is all: the plugin has its answer.\n".to_owned(),
        // What a plugin makes of a request that was not sent is its own matter.
        Some(_) if requests.iter().any(|request| !request.sent) => {
            "What is asked after that depends on the answers. A mock shows it: --set backend.base_url=mock:NAME.\n"
                .to_owned()
        }
        Some(error) => format!("The plugin gives up: {error}\n"),
    }
}
