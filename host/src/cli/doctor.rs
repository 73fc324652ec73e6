//! `host doctor`: what a run would find on this machine. Nothing is loaded, asked or changed, and of a secret no more is
//! said than where it is.

mod kernel;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use plugin_api::{
    abi::{ABI_MAJOR, ABI_MINOR},
    manifest::SecretSlot,
};
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use super::{args::DoctorArgs, done::Done};
use crate::{
    asset,
    plugin::{
        discover::{self, Candidate, Provenance},
        lock::open::Trust,
    },
    printer::Printer,
    report::table,
    run::error::exit,
    secret::{Lookup, place_of},
    store::cache,
};

/// Variables that a proxy is taken from, in the order in which they are looked at.
const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "event", rename = "fact")]
pub(super) struct Fact {
    /// What it belongs to.
    topic: &'static str,
    /// What was looked at.
    name: String,
    /// How it stands.
    state: State,
    /// In words.
    detail: String,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// There, and good.
    Good,
    /// Not there, and not needed by everyone.
    Absent,
    /// In the way of something.
    Bad,
}

impl State {
    fn in_words(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Absent => "–",
            Self::Bad => "bad",
        }
    }
}

impl Fact {
    fn new(
        topic: &'static str,
        name: impl Into<String>,
        state: State,
        detail: impl Into<String>,
    ) -> Self {
        Self { topic, name: name.into(), state, detail: detail.into() }
    }

    fn found(topic: &'static str, name: impl Into<String>, found: Result<String, String>) -> Self {
        match found {
            Ok(detail) => Self::new(topic, name, State::Good, detail),
            Err(detail) => Self::new(topic, name, State::Bad, detail),
        }
    }
}

/// Looks and tells. What is bad is told, and changes no exit code: a run says by itself what it cannot do without.
pub(super) fn main(args: &DoctorArgs, printer: &Printer) -> Done {
    let mut facts = program();
    facts.extend(plugins(args));
    facts.push(lock(args));
    facts.extend(folders(args));
    facts.extend(PROXIES.iter().filter_map(|name| proxy(name, env::var(name).ok()?)));
    facts.extend(kernel::facts());
    let mut shown = table::plain(printer.width());
    shown.set_header(["", "what", "", "how it stands"]);
    facts.iter().for_each(|fact| printer.record(fact));
    let mut last = "";
    for fact in &brief(facts) {
        let topic = if fact.topic == last { "" } else { fact.topic };
        last = fact.topic;
        shown.add_row([topic, &fact.name, fact.state.in_words(), &fact.detail]);
    }
    printer.data(&format!("{shown}\n"));
    exit::DONE.into()
}

/// Absent keys of one plugin that are listed each by itself.
const FEW_KEYS: usize = 3;

/// What a person reads: of a plugin that knows a hundred keys nobody has them all, so those that are absent are counted.
fn brief(facts: Vec<Fact>) -> Vec<Fact> {
    let is_absent_key = |fact: &Fact| fact.topic == "keys" && fact.state == State::Absent;
    let plugin = |fact: &Fact| fact.name.split_once(": ").map(|(plugin, _)| plugin.to_owned());
    let mut absent: BTreeMap<String, usize> = BTreeMap::new();
    for name in facts.iter().filter(|fact| is_absent_key(fact)).filter_map(plugin) {
        *absent.entry(name).or_default() += 1;
    }
    let mut shown = Vec::with_capacity(facts.len());
    for fact in facts {
        let many = plugin(&fact).filter(|_| is_absent_key(&fact)).and_then(|name| {
            let count = absent.get(&name).copied().filter(|count| *count > FEW_KEYS)?;
            Some((name, count))
        });
        match many {
            None => shown.push(fact),
            Some((name, count)) => {
                if absent.insert(name.clone(), usize::MAX) != Some(usize::MAX) {
                    let detail = format!("{count} are not set; `host plugin inspect` lists them");
                    shown.push(Fact::new("keys", format!("{name}: others"), State::Absent, detail));
                }
            }
        }
    }
    shown
}

fn program() -> Vec<Fact> {
    let version = env!("CARGO_PKG_VERSION");
    let executable = env::current_exe().map_err(|error| error.to_string());
    let executable = executable.map(|path| format!("{version}, {}", path.display()));
    let abi = format!("{}.{}", ABI_MAJOR, ABI_MINOR);
    vec![
        Fact::found("program", "host", executable),
        Fact::new("program", "plugin ABI", State::Good, abi),
    ]
}

/// Folders, plugins in them, and where their keys are looked for.
fn plugins(args: &DoctorArgs) -> Vec<Fact> {
    let variable = env::var_os("HOST_PLUGIN_DIR");
    let executable = env::current_exe().ok();
    let named = &args.plugins.plugin_dirs;
    let path = match discover::search_path(named, variable.as_deref(), executable.as_deref()) {
        Ok(path) => path,
        Err(error) => return vec![Fact::new("plugins", "folders", State::Bad, error.to_string())],
    };
    let searched: Vec<String> = path.iter().map(|one| one.path.display().to_string()).collect();
    let mut facts = vec![Fact::new("plugins", "folders", State::Good, searched.join("\n"))];
    let found = discover::discover(&path);
    if found.plugins.is_empty() {
        let detail = "none found; name their folder by --plugin-dir or HOST_PLUGIN_DIR";
        facts.push(Fact::new("plugins", "plugins", State::Bad, detail));
    }
    facts.extend(found.plugins.iter().map(plugin));
    facts.extend(found.refused.iter().map(|refused| {
        let name = refused.path.display().to_string();
        Fact::new("plugins", name, State::Bad, refused.reason.to_string())
    }));
    let keys = found.plugins.iter().flat_map(|candidate| {
        let slots = candidate.inspection.manifest.plugin.secrets.iter();
        slots.map(|slot| key(candidate.id(), slot))
    });
    facts.extend(keys);
    facts
}

fn plugin(candidate: &Candidate) -> Fact {
    let manifest = &candidate.inspection.manifest;
    let abi = format!("{}.{}", manifest.abi.major, manifest.abi.minor);
    let origin = match candidate.provenance {
        Provenance::Installed => "came with this host",
        Provenance::Directory => "did not come with this host",
    };
    let path = candidate.path.display();
    let detail = format!("{}, ABI {abi}, {origin}, {path}", manifest.version);
    Fact::new("plugins", candidate.id(), State::Good, detail)
}

/// The lock file that counts in this folder.
fn lock(args: &DoctorArgs) -> Fact {
    match args.lock.choice().open(Path::new("")) {
        Ok(Trust { lock: Some(lock), .. }) => {
            let detail = format!("{}, {} plugins", lock.path.display(), lock.file.plugins.len());
            Fact::new("plugins", "lock file", State::Good, detail)
        }
        Ok(_) => {
            let detail = "none here or above; `host plugin lock --with RUN_FILE` writes one";
            Fact::new("plugins", "lock file", State::Absent, detail)
        }
        Err(error) => Fact::new("plugins", "lock file", State::Bad, error.to_string()),
    }
}

/// Where a key is, if it is anywhere; never what it is.
fn key(plugin: &str, slot: &SecretSlot) -> Fact {
    let name = format!("{plugin}: {}", slot.slot);
    let home = env::var_os("HOME").map(PathBuf::from);
    let variable = |name: &str| env::var(name).ok();
    let lookup = Lookup { variable: &variable, home: home.as_deref() };
    match place_of(slot, &lookup) {
        Ok(Some(place)) => Fact::new("keys", name, State::Good, format!("in {place}")),
        Ok(None) => {
            let from = slot.env.iter().map(|name| format!("${name}")).chain(slot.files.clone());
            let from: Vec<String> = from.collect();
            Fact::new("keys", name, State::Absent, format!("not in {}", from.join(", ")))
        }
        Err(error) => Fact::new("keys", name, State::Bad, error.to_string()),
    }
}

/// What is kept between runs, and where runs go.
fn folders(args: &DoctorArgs) -> Vec<Fact> {
    let mut facts = Vec::new();
    match asset::cache_dir(&|name| env::var_os(name)) {
        None => {
            let detail = "no folder; set HOST_CACHE_DIR or HOME";
            facts.push(Fact::new("folders", "models", State::Bad, detail));
        }
        Some(folder) => {
            facts.push(models(&folder));
            facts.push(responses(&cache::file(&folder)));
        }
    }
    facts.push(match super::task::catalog(&args.config) {
        Ok(catalog) => {
            let (definitions, broken) = catalog.definitions(&|name| env::var(name).ok());
            let ready = definitions.iter().filter(|one| one.data.present).count();
            let detail = format!(
                "{} definitions, the data of {ready} is there, {} cannot be used",
                definitions.len(),
                broken.len()
            );
            Fact::new("folders", "tasks", State::Good, detail)
        }
        Err(error) => Fact::new("folders", "tasks", State::Bad, super::in_words(&error)),
    });
    facts.push(Fact::found("folders", "current", current()));
    facts
}

fn models(folder: &Path) -> Fact {
    let Ok(entries) = fs::read_dir(folder) else {
        let detail = format!("{}: nothing yet", folder.display());
        return Fact::new("folders", "models", State::Absent, detail);
    };
    let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
    let files: Vec<u64> = sizes.filter(|meta| meta.is_file()).map(|meta| meta.len()).collect();
    let (count, bytes) = (files.len(), super::cache::size(files.iter().sum()));
    let detail = format!("{}: {count} files, {bytes}", folder.display());
    Fact::new("folders", "models", State::Good, detail)
}

fn responses(file: &Path) -> Fact {
    match fs::metadata(file) {
        Ok(meta) => {
            let detail = format!("{}: {}", file.display(), super::cache::size(meta.len()));
            Fact::new("folders", "response cache", State::Good, detail)
        }
        Err(_) => {
            let detail = format!("{}: nothing yet", file.display());
            Fact::new("folders", "response cache", State::Absent, detail)
        }
    }
}

/// Whether a run directory could be made here.
fn current() -> Result<String, String> {
    let folder = env::current_dir().map_err(|error| format!("it cannot be told: {error}"))?;
    let shown = folder.display();
    match rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(format!("{shown}: runs can be made here")),
        Err(error) => Err(format!("{shown}: {error}; runs need --out DIR")),
    }
}

/// A proxy as it is set, without who one is to it.
fn proxy(name: &str, value: String) -> Option<Fact> {
    if value.is_empty() {
        return None;
    }
    let shown = match Url::parse(&value) {
        Ok(mut url) if url.has_host() => {
            let hidden = url.password().is_some() || !url.username().is_empty();
            if hidden && (url.set_username("").is_err() || url.set_password(None).is_err()) {
                "set, and not shown".to_owned()
            } else if hidden {
                format!("{url} (with credentials, not shown)")
            } else {
                value
            }
        }
        // A list of hosts, or a host and a port.
        _ if value.contains('@') => "set, and not shown".to_owned(),
        _ => value,
    };
    Some(Fact::new("proxy", name, State::Good, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_absent_keys_are_counted() {
        let key = |name: &str, state| Fact::new("keys", name, state, "");
        let mut facts: Vec<Fact> = (0..5).map(|n| key(&format!("l: {n}"), State::Absent)).collect();
        facts.insert(2, key("l: here", State::Good));
        facts.push(key("t: one", State::Absent));
        let names: Vec<String> = brief(facts).into_iter().map(|fact| fact.name).collect();
        assert_eq!(names, ["l: others", "l: here", "t: one"]);
    }

    #[test]
    fn a_proxy_is_shown_without_who_one_is_to_it() {
        let table = [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            ("http://me:secret@127.0.0.1:1/", "http://127.0.0.1:1/ (with credentials, not shown)"),
            ("http://me@127.0.0.1:1/", "http://127.0.0.1:1/ (with credentials, not shown)"),
            ("me:secret@127.0.0.1:1", "set, and not shown"),
            ("127.0.0.1,localhost", "127.0.0.1,localhost"),
        ];
        for (value, expected) in table {
            assert_eq!(proxy("HTTPS_PROXY", value.to_owned()).unwrap().detail, expected, "{value}");
        }
        assert_eq!(proxy("HTTPS_PROXY", String::new()), None);
    }
}
