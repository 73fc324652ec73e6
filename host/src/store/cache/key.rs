//! What decides an answer, as a key: everything that reaches plugin and server, and nothing that does not. Pure.

use std::{collections::BTreeMap, sync::Arc};

use plugin_api::{Request, message::Description};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical::canonical_json;

/// Format of keys and entries. It is part of every key, so what another format kept is never found.
pub(super) const FORMAT: u32 = 1;

/// What of a backend decides its answers.
#[derive(Clone, Copy, Debug)]
pub struct Decisive<'a> {
    /// Its id in the run file.
    pub backend: &'a str,
    /// Id of its plugin.
    pub plugin: &'a str,
    /// SHA-256 of the plugin's bytes, in hex.
    pub plugin_sha256: &'a str,
    /// The model, as results name it.
    pub model: Option<&'a str>,
    /// Where its servers are, as the run file says: nothing tells two servers apart that describe themselves alike.
    pub servers: &'a [String],
    /// The plugin's configuration. Its `base_url` does not count: `servers` says that, and a mock's has a port that
    /// differs from run to run.
    pub config: &'a Value,
    /// Environment variables that the plugin was told.
    pub env: &'a BTreeMap<String, String>,
    /// SHA-256 of the files that the plugin was given, by name.
    pub assets: &'a BTreeMap<String, String>,
    /// What plugin and server say of themselves: model, engine and version.
    pub description: &'a Description,
    /// Whether the host's own mock answers; then it is the host that decides.
    pub is_mock: bool,
}

/// A backend by all that decides its answers.
#[derive(Clone, Debug)]
pub struct Identity {
    digest: [u8; 32],
    label: Arc<Label>,
}

/// What an entry is called in statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Id of the backend.
    pub backend: String,
    /// Id of its plugin.
    pub plugin: String,
    /// The model, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// The name of one sample's answers: BLAKE3 of all that decides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) [u8; 32]);

impl Label {
    /// Its number in the file.
    pub(super) fn id(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.backend, &self.plugin, self.model.as_deref().unwrap_or_default()] {
            text(&mut hasher, part.as_bytes());
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

impl Identity {
    /// The identity of a backend.
    pub fn new(of: &Decisive<'_>) -> Self {
        let mut config = of.config.clone();
        if let Some(config) = config.as_object_mut() {
            config.remove("base_url");
        }
        // A price list decides what an answer is said to cost, and not the answer.
        let description = Description { prices: None, ..of.description.clone() };
        let all = json!({
            "backend": of.backend,
            "plugin": of.plugin,
            "plugin_sha256": of.plugin_sha256,
            "model": of.model,
            "servers": of.servers,
            "config": config,
            "env": of.env,
            "assets": of.assets,
            "description": description,
            "mock": of.is_mock.then_some(env!("CARGO_PKG_VERSION")),
        });
        let model = of.model.map(str::to_owned).or_else(|| description.model.clone());
        let label = Label { backend: of.backend.to_owned(), plugin: of.plugin.to_owned(), model };
        let digest = blake3::hash(&canonical_json(&all)).into();
        Self { digest, label: Arc::new(label) }
    }

    /// The key of one sample's requests. Each repeat is a draw of its own.
    pub(super) fn key(&self, requests: &[Request<'_>], repeat: u32) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT.to_le_bytes());
        hasher.update(&self.digest);
        hasher.update(&repeat.to_le_bytes());
        let mut body = Vec::new();
        for request in requests {
            body.clear();
            // Texts lie in the body in a fixed order, so equal requests have equal spans.
            let head = serde_json::to_value(request.put(&mut body)).unwrap_or_default();
            text(&mut hasher, &canonical_json(&head));
            text(&mut hasher, &body);
        }
        Key(hasher.finalize().into())
    }

    /// The same with another label: what is shown decides nothing.
    pub(super) fn labelled(self, shown: impl Fn(&str) -> String) -> Self {
        let Label { backend, plugin, model } = &*self.label;
        let label = Label {
            backend: shown(backend),
            plugin: shown(plugin),
            model: model.as_deref().map(shown),
        };
        Self { label: Arc::new(label), ..self }
    }

    pub(super) fn label(&self) -> &Arc<Label> {
        &self.label
    }
}

/// A part with its length before it, so that no two lists of parts hash alike.
fn text(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use plugin_api::{Generate, Loglikelihood, Prompt, Rolling};
    use serde_json::Map;

    use super::*;

    fn generate(text: &str) -> Generate<'_> {
        Generate {
            max_tokens: Some(16),
            temperature: Some(0.0),
            ..Generate::new(Prompt::Text(text))
        }
    }

    static CONFIG: LazyLock<Value> = LazyLock::new(|| json!({ "base_url": "http://a", "top": 1 }));
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    static UNKNOWN: LazyLock<Description> = LazyLock::new(Description::default);

    fn decisive<'a>() -> Decisive<'a> {
        Decisive {
            backend: "b",
            plugin: "p",
            plugin_sha256: "00",
            model: Some("m"),
            servers: &[],
            config: &CONFIG,
            env: &NONE,
            assets: &NONE,
            description: &UNKNOWN,
            is_mock: false,
        }
    }

    /// The key of a request at a backend that differs from a fixed one in what `change` changes.
    fn of<'a>(change: impl FnOnce(&mut Decisive<'a>)) -> Key {
        let mut decisive = decisive();
        change(&mut decisive);
        Identity::new(&decisive).key(&[Request::Generate(generate("q"))], 0)
    }

    #[test]
    fn nothing_that_decides_an_answer_is_left_out_of_its_key() {
        let servers = ["http://b".to_owned()];
        let config = json!({ "base_url": "http://a", "top": 2 });
        let map = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let described = |change: fn(&mut Description)| {
            let mut description = Description::default();
            change(&mut description);
            description
        };
        let model = described(|description| description.model = Some("n".into()));
        let version = described(|description| description.version = Some("2".into()));
        let keys = [
            of(|_| {}),
            of(|of| of.backend = "c"),
            of(|of| of.plugin = "q"),
            of(|of| of.plugin_sha256 = "01"),
            of(|of| of.model = Some("n")),
            of(|of| of.model = None),
            of(|of| of.servers = &servers),
            of(|of| of.config = &config),
            of(|of| of.env = &map),
            of(|of| of.assets = &map),
            of(|of| of.description = &model),
            of(|of| of.description = &version),
            of(|of| of.is_mock = true),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "the change number {index} changes nothing");
        }
    }

    #[test]
    fn a_port_that_changes_from_run_to_run_and_a_price_list_decide_nothing() {
        let config = json!({ "top": 1, "base_url": "http://127.0.0.1:4711" });
        let priced = Description { prices: Some("2026".into()), ..Description::default() };
        assert_eq!(of(|_| {}), of(|of| of.config = &config));
        assert_eq!(of(|_| {}), of(|of| of.description = &priced));
    }

    #[test]
    fn requests_that_differ_in_anything_have_keys_of_their_own() {
        let identity = Identity::new(&decisive());
        let likely = |text, continuations: &[&'static str]| {
            Request::Loglikelihood(Loglikelihood {
                prompt: Prompt::Text(text),
                continuations: continuations.to_vec(),
                token_logprobs: false,
            })
        };
        let mut requests = vec![
            vec![Request::Generate(generate("q"))],
            vec![Request::Generate(generate("r"))],
            vec![Request::Generate(Generate { seed: Some(1), ..generate("q") })],
            vec![Request::Generate(Generate { temperature: Some(0.5), ..generate("q") })],
            vec![Request::Generate(Generate { n: 2, ..generate("q") })],
            vec![Request::Generate(Generate { stop: vec!["\n".into()], ..generate("q") })],
            vec![Request::Rolling(Rolling { text: "q" })],
            vec![likely("ab", &["c"])],
            vec![likely("a", &["bc"])],
            vec![likely("a", &["b", "c"])],
            vec![likely("a", &["b", "c"]), likely("", &["b", "c"])],
        ];
        let mut extra = generate("q");
        extra.extra = Map::from_iter([("best_of".to_owned(), json!(2))]);
        requests.push(vec![Request::Generate(extra)]);
        let mut keys: Vec<Key> =
            requests.iter().map(|requests| identity.key(requests, 0)).collect();
        keys.push(identity.key(&requests[0], 1));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "the request number {index} is another's");
        }
        assert_eq!(keys[0], identity.key(&[Request::Generate(generate("q"))], 0));
    }

    #[test]
    fn the_order_of_a_vendors_parameters_makes_no_other_request() {
        let request = |names: [&str; 2]| {
            let mut request = generate("q");
            request.extra = names.into_iter().map(|name| (name.to_owned(), json!(1))).collect();
            [Request::Generate(request)]
        };
        let identity = Identity::new(&decisive());
        assert_eq!(identity.key(&request(["a", "b"]), 0), identity.key(&request(["b", "a"]), 0));
    }
}
