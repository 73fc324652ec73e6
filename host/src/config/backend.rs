//! A backend's table against its plugin's manifest: the configuration that `open` is given, checked
//! against the plugin's schema, and what the backend may reach.

use plugin_api::manifest::{Declared, SecretSlot};
use serde_json::{Map, Value};
use url::Url;

use super::check::{self, join};
use super::error::{ConfigError, Problem};
use super::load::RunFile;
use super::node::{Content, Node};
use super::resolved::BaseUrl;
use super::schema;
use super::typed;
use crate::secret::{Grants, Origin};

/// What a configured backend is opened with.
#[derive(Clone, Debug)]
pub struct CheckedBackend {
    /// The plugin's configuration; fits its schema.
    pub config: Map<String, Value>,
    /// What it may reach and send.
    pub grants: Grants,
    /// The secrets that its requests may name: the manifest's slots, then the run file's.
    pub slots: Vec<SecretSlot>,
}

impl RunFile {
    /// Checks the backend number `index` of [`super::RunConfig::backends`] against its plugin's
    /// declaration and the JSON Schema of its configuration (`null`: the plugin takes any), as it is at its
    /// server number `server` ([`super::BackendConfig::servers`]). `mock` is where the mock that this server
    /// stands for is in this run, if it stands for one.
    ///
    /// # Errors
    /// Everything in the backend's table that does not fit.
    pub fn check_backend(
        &self,
        index: usize,
        server: usize,
        declared: &Declared,
        config_schema: &Value,
        mock: Option<&Url>,
    ) -> Result<CheckedBackend, ConfigError> {
        let (Some(backend), Some(node)) =
            (self.config.backends.get(index), self.backend_at(index, server))
        else {
            let problem = Problem::new(
                &self.root.place,
                "backend",
                format!("there is no backend number {index}"),
            );
            return Err(ConfigError::Invalid(vec![problem]));
        };
        let name = join("backend", &backend.id);
        let mut problems = Vec::new();
        let mut declared = declared.clone();
        for slot in &backend.slots {
            if declared.secrets.iter().any(|known| known.slot == slot.slot) {
                let place = node.get("slot").map_or(&node.place, |slots| &slots.place);
                let message = format!("the slot `{}` is declared already", slot.slot);
                problems.push(Problem::new(place, join(&name, "slot"), message));
            }
            declared.secrets.push(slot.clone());
        }
        let node = match mock {
            Some(url) => at_mock(node, url),
            None => node,
        };
        let config = plugin_config(&node, &name, &declared, config_schema, &mut problems);
        let base_url = backend.servers().get(server).copied().flatten();
        let grants = match (mock.and_then(|url| Origin::of(url).ok()), base_url) {
            (Some(mock), _) => Grants::of_mock(&declared, mock, &backend.secrets),
            (None, Some(BaseUrl::Server(url))) => {
                Grants::new(&declared, Origin::of(url).ok(), &backend.origins, &backend.secrets)
            }
            (None, _) => Grants::new(&declared, None, &backend.origins, &backend.secrets),
        };
        let grants = grants.map_err(|error| {
            let place = node.get("secrets").map_or(&node.place, |secrets| &secrets.place);
            problems.push(Problem::new(place, name.clone(), error.to_string()));
        });
        match grants {
            Ok(grants) if problems.is_empty() => {
                let config = match config.to_value() {
                    Value::Object(map) => map,
                    _ => Map::new(),
                };
                Ok(CheckedBackend { config, grants, slots: declared.secrets })
            }
            _ => Err(ConfigError::Invalid(problems)),
        }
    }

    /// The table of a backend as it would be if the server number `server` were its only one.
    pub(super) fn backend_at(&self, index: usize, server: usize) -> Option<Node> {
        let mut node = self.root.get("backend")?.items().get(index)?.clone();
        if let Content::Table(table) = &mut node.content {
            let replica = table.get("replica").and_then(|list| list.items().get(server)).cloned();
            table.remove("replica");
            for key in ["base_url", "launch"] {
                let own = replica.as_ref().and_then(|replica| replica.get(key));
                if let Some(own) = own {
                    table.insert(key.to_owned(), own.clone());
                }
            }
        }
        Some(node)
    }
}

/// The backend's table as it would be if the mock were an ordinary server.
fn at_mock(mut node: Node, url: &Url) -> Node {
    if let Some(base_url) = node.at_mut(&["base_url"]) {
        *base_url = Node::string(url.as_str(), &base_url.place);
    }
    node
}

/// The `config` table with `model` and `base_url` of the backend put in where the schema has them.
fn plugin_config(
    node: &Node,
    name: &str,
    declared: &Declared,
    schema: &Value,
    problems: &mut Vec<Problem>,
) -> Node {
    let mut config = node.get("config").cloned().unwrap_or_else(|| Node::table(&node.place));
    let takes = |key: &str| {
        schema.get("properties").is_some_and(|properties| properties.get(key).is_some())
    };
    // An author who has not described the configuration yet is told what every backend may be told.
    let undescribed = schema.as_object().is_some_and(serde_json::Map::is_empty);
    let Content::Table(table) = &mut config.content else { return config };

    for (key, entry) in table.iter() {
        if declared.secrets.iter().any(|slot| slot.slot.eq_ignore_ascii_case(key)) && !takes(key) {
            problems.push(secret_in_file(entry, name, key, declared));
        }
    }
    table.retain(|key, _| {
        takes(key) || !declared.secrets.iter().any(|slot| slot.slot.eq_ignore_ascii_case(key))
    });
    if let Some(entry) = table.get("base_url") {
        let problem = Problem::new(
            &entry.place,
            format!("{name}.config.base_url"),
            "belongs into [[backend]] itself",
        );
        problems.push(problem.hint("there it also allows requests to its origin"));
    }
    for key in ["model", "base_url"] {
        match (node.get(key), takes(key) || undescribed, table.get(key)) {
            (Some(_), _, Some(entry)) if key == "model" => {
                problems.push(Problem::new(
                    &entry.place,
                    format!("{name}.config.model"),
                    "is given twice: here and in [[backend]] itself",
                ));
            }
            (Some(given), true, None) => drop(table.insert(key.to_owned(), given.clone())),
            (Some(given), false, _) if key == "base_url" && !schema.is_null() => {
                problems.push(Problem::new(
                    &given.place,
                    format!("{name}.base_url"),
                    format!("plugin `{}` has no base_url", declared.id),
                ));
            }
            _ => {}
        }
    }
    if !schema.is_null() {
        let mut closed = schema.clone();
        schema::close(&mut closed);
        let (key, known) = (format!("{name}.config"), problems.len());
        typed::convert(&mut config, &closed, &key, problems);
        match check::check(&config, &closed, &key) {
            // What cannot become what the schema wants is told already.
            Ok(found) if problems.len() == known => problems.extend(found),
            Ok(_) => {}
            Err(reason) => problems.push(Problem::new(
                &node.place,
                name,
                format!("the configuration schema of plugin `{}` is broken: {reason}", declared.id),
            )),
        }
    }
    config
}

fn secret_in_file(entry: &Node, name: &str, key: &str, declared: &Declared) -> Problem {
    let env = declared
        .secrets
        .iter()
        .find(|slot| slot.slot.eq_ignore_ascii_case(key))
        .and_then(|slot| slot.env.first());
    let problem = Problem::new(
        &entry.place,
        format!("{name}.config.{key}"),
        "is a secret, and secrets do not belong into run files",
    );
    match env {
        Some(variable) => {
            problem.hint(format!("remove it, and set the environment variable {variable}"))
        }
        None => problem.hint(
            "remove it; `host plugin inspect` shows where the plugin's secrets are looked up",
        ),
    }
}
