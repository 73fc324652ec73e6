//! The configuration as it is meant: one of three services, each with its own values, defaults filled in.
//! [`crate::resolve`] makes it. Knows nothing of requests.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wire::tgi::Defaults;

use crate::config::{EndpointType, Engine, Instance, OnFinish};

/// What is configured.
#[derive(Clone, Debug)]
pub enum Settings {
    /// Chat over Inference Providers.
    Router(Router),
    /// Classic text generation.
    Serverless(Serverless),
    /// An Inference Endpoint.
    Endpoint(Box<Endpoint>),
}

/// Values of chat completions where a request says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatDefaults {
    /// Most tokens to generate.
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    pub temperature: Option<f64>,
    /// 1 is off.
    pub top_p: Option<f64>,
    /// 0 is off.
    pub top_k: Option<u32>,
    /// As a part of the likeliest token's probability.
    pub min_p: Option<f64>,
    /// 0 is none.
    pub presence_penalty: Option<f64>,
    /// 0 is none.
    pub frequency_penalty: Option<f64>,
    /// 1 is none.
    pub repetition_penalty: Option<f64>,
    /// In the provider's words.
    pub reasoning_effort: Option<String>,
    /// Sent as it stands.
    pub extra_body: Map<String, Value>,
    /// Whether each choice is a request of its own.
    pub separate_choices: bool,
}

/// The router of Inference Providers.
#[derive(Clone, Debug)]
pub struct Router {
    /// The API's root, its version included.
    pub base: String,
    /// The model with its suffix, as it is sent.
    pub model: String,
    /// The headers of every request, that of billing among them.
    pub headers: Vec<(String, String)>,
    /// Where a request says nothing.
    pub defaults: ChatDefaults,
}

/// Serverless text generation.
#[derive(Clone, Debug)]
pub struct Serverless {
    /// Where the model answers.
    pub url: String,
    /// The model's name, for reports.
    pub model: String,
    /// The headers of every request.
    pub headers: Vec<(String, String)>,
    /// Where a request says nothing.
    pub defaults: Defaults,
    /// Whether the service holds a request while it loads the model.
    pub wait_for_model: bool,
    /// Whether it may answer from its cache; none leaves it to the request.
    pub use_cache: Option<bool>,
    /// Longest wait before the next attempt while it loads.
    pub max_loading_wait_ms: u64,
}

/// An Inference Endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it is, or how it is found.
    pub place: Place,
    /// The model as the run file names it.
    pub model: Option<String>,
    /// The headers of every request.
    pub headers: Vec<(String, String)>,
    /// Where a request to TGI's routes says nothing.
    pub text: Defaults,
    /// Where a request for a chat completion says nothing.
    pub chat: ChatDefaults,
    /// What it speaks.
    pub engine: Engine,
    /// Where it says that it is ready, beginning with a slash.
    pub health_route: Option<String>,
    /// Longest time until it is ready, in seconds.
    pub wait_timeout_s: u32,
    /// Time between two looks, in seconds.
    pub poll_interval_s: u32,
}

/// Where an endpoint is.
#[derive(Clone, Debug)]
pub enum Place {
    /// At this URL, without a slash at its end.
    Url(String),
    /// Found over the management API.
    Managed(Box<Managed>),
}

/// An endpoint that is found, and perhaps started or created, over the management API.
#[derive(Clone, Debug)]
pub struct Managed {
    /// The API's root, its version included.
    pub api: String,
    /// Where the token's user is told.
    pub whoami: String,
    /// The endpoint's name.
    pub name: String,
    /// Whose it is; none is the token's user.
    pub namespace: Option<String>,
    /// Whether one that is there already is used.
    pub reuse_existing: bool,
    /// Whether one is resumed and created.
    pub auto_start: bool,
    /// What becomes of it.
    pub on_finish: OnFinish,
    /// What it must serve: checked if it is found, asked for if it is created.
    pub repository: Option<String>,
    /// The revision, likewise.
    pub revision: Option<String>,
    /// How one is created.
    pub plan: Plan,
}

/// How an endpoint is created. wire.md 5.4.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cloud.
    pub vendor: String,
    /// Its region.
    pub region: String,
    /// `gpu`, `cpu` or `neuron`.
    pub accelerator: String,
    /// The machines to try, in this order; empty if none is named.
    pub instances: Vec<Instance>,
    /// Who may call it.
    pub endpoint_type: EndpointType,
    /// The framework.
    pub framework: String,
    /// The task.
    pub task: String,
    /// The container's image.
    pub image_url: String,
    /// Where the container says that it is ready.
    pub health_route: String,
    /// The container's environment, the user's own variables last.
    pub env: BTreeMap<String, String>,
    /// Least replicas.
    pub min_replica: u32,
    /// Most replicas.
    pub max_replica: u32,
    /// Minutes; none is never.
    pub scale_to_zero_timeout: Option<u32>,
}

/// How a provider may be chosen rather than named. wire.md 5.2.
const POLICIES: [&str; 3] = ["fastest", "cheapest", "preferred"];

impl Router {
    /// Why two runs may be served by different providers; none if one is forced.
    pub fn unfixed(&self) -> Option<String> {
        let suffix = self.model.rsplit_once(':').map(|(_, suffix)| suffix);
        if suffix.is_some_and(|suffix| !POLICIES.contains(&suffix)) {
            return None;
        }
        Some(format!(
            "`{}` forces no provider: the router chooses one for each request, and they differ in \
             quantisation and context size, so the results cannot be reproduced; say provider = \"…\"",
            self.model
        ))
    }
}
