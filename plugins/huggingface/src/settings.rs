//! The configuration as it is meant: one of three services, each with its own values, defaults filled in.
//!
//! A key that the chosen mode has no use for is refused by name, because it would be silently without effect.
//! Knows nothing of requests.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use wire::tgi::Defaults;

use crate::{
    address,
    config::{Config, Dtype, EndpointType, Engine, Instance, Mode, OnFinish},
};

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
    Managed(Managed),
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

/// The image of a new endpoint: the last version of TGI that its own README names.
const TGI_IMAGE: &str = "ghcr.io/huggingface/text-generation-inference:3.3.5";

/// How a provider may be chosen rather than named. wire.md 5.2.
const POLICIES: [&str; 3] = ["fastest", "cheapest", "preferred"];

impl Config {
    /// What is meant.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key and the way out.
    pub fn resolved(self) -> Result<Settings> {
        self.refuse_keys_of_other_modes()?;
        self.check_ranges()?;
        let headers = headers(&self.extra_headers)?;
        Ok(match self.mode {
            Mode::Router => Settings::Router(self.router(headers)?),
            Mode::Serverless => Settings::Serverless(self.serverless(headers)?),
            Mode::Endpoint => Settings::Endpoint(Box::new(self.endpoint(headers)?)),
        })
    }

    fn router(self, mut headers: Vec<(String, String)>) -> Result<Router> {
        let defaults = self.chat_defaults();
        let base = address::router(self.base_url.as_deref())?;
        let model = with_provider(required_model(self.model, Mode::Router)?, self.provider)?;
        headers.extend(self.bill_to.map(|payer| ("x-hf-bill-to".to_owned(), payer)));
        Ok(Router { base, model, headers, defaults })
    }

    fn serverless(self, headers: Vec<(String, String)>) -> Result<Serverless> {
        // Unset, the classic pipelines send the prompt back with the answer.
        let defaults = Defaults { return_full_text: Some(false), ..self.text_defaults() };
        let models = address::serverless(self.base_url.as_deref())?;
        let model = required_model(self.model, Mode::Serverless)?;
        if model.contains(':') {
            return Err(wrong("model: the suffix of a provider is for mode = \"router\""));
        }
        Ok(Serverless {
            url: format!("{models}/{model}"),
            model,
            headers,
            defaults,
            wait_for_model: self.wait_for_model.unwrap_or(false),
            use_cache: self.use_cache,
            max_loading_wait_ms: u64::from(self.max_loading_wait.unwrap_or(60)) * 1000,
        })
    }

    fn endpoint(self, mut headers: Vec<(String, String)>) -> Result<Endpoint> {
        let hold = self.scale_up_timeout.map(|s| ("x-scale-up-timeout".to_owned(), s.to_string()));
        headers.extend(hold);
        let health_route = self.health_route.clone();
        if health_route.as_deref().is_some_and(|route| !route.starts_with('/')) {
            return Err(wrong("health_route: expected a path that begins with `/`"));
        }
        Ok(Endpoint {
            model: self.model.clone(),
            headers,
            text: self.text_defaults(),
            chat: self.chat_defaults(),
            engine: self.engine.unwrap_or_default(),
            health_route,
            wait_timeout_s: self.wait_timeout.unwrap_or(1800),
            poll_interval_s: self.poll_interval.unwrap_or(5),
            place: self.place()?,
        })
    }

    fn place(self) -> Result<Place> {
        let Some(name) = self.name.clone() else {
            let base = self.base_url.as_deref().ok_or_else(|| {
                wrong(
                    "an endpoint needs `base_url`, its own URL, or a `name` to find it by over the \
                     management API",
                )
            })?;
            if let Some(key) =
                self.keys_of_management().into_iter().find_map(|(key, set)| set.then_some(key))
            {
                return Err(wrong(&format!(
                    "{key}: has no effect without `name`, since an endpoint by its URL is not managed"
                )));
            }
            return Ok(Place::Url(address::endpoint(base)?));
        };
        for (key, text) in [("name", Some(&name)), ("namespace", self.namespace.as_ref())] {
            if text.is_some_and(|text| !is_one_segment(text)) {
                return Err(wrong(&format!(
                    "{key}: expected letters, digits, `-`, `_` and `.` only"
                )));
            }
        }
        let management = address::management(self.base_url.as_deref())?;
        let plan = self.plan()?;
        Ok(Place::Managed(Managed {
            api: management.api,
            whoami: management.whoami,
            name,
            namespace: self.namespace,
            reuse_existing: self.reuse_existing.unwrap_or(true),
            auto_start: self.auto_start.unwrap_or(true),
            on_finish: self.on_finish.unwrap_or_default(),
            repository: self.model,
            revision: self.revision,
            plan,
        }))
    }

    fn plan(&self) -> Result<Plan> {
        let instances = match (&self.instance_type, &self.instance_size) {
            (Some(instance_type), Some(instance_size)) => {
                let first = Instance {
                    instance_type: instance_type.clone(),
                    instance_size: instance_size.clone(),
                };
                std::iter::once(first).chain(self.fallback_instances.iter().cloned()).collect()
            }
            (None, None) if self.fallback_instances.is_empty() => Vec::new(),
            _ => {
                return Err(wrong(
                    "instance_type and instance_size: expected both, `nvidia-a10g` and `x1` say; \
                     fallback_instances come after them",
                ));
            }
        };
        let image_url = self.image_url.clone().unwrap_or_else(|| TGI_IMAGE.to_owned());
        let is_tgi = image_url.contains("text-generation-inference");
        let mut env = if is_tgi { self.tgi_env() } else { BTreeMap::new() };
        let keys = [
            ("dtype", self.dtype.is_some()),
            ("max_input_length", self.max_input_length.is_some()),
            ("max_total_tokens", self.max_total_tokens.is_some()),
            ("max_batch_prefill_tokens", self.max_batch_prefill_tokens.is_some()),
        ];
        if let (false, Some((key, _))) = (is_tgi, keys.iter().find(|(_, set)| *set)) {
            return Err(wrong(&format!(
                "{key}: is for the image of Text Generation Inference; say it by `env_vars` for another one"
            )));
        }
        env.extend(self.env_vars.clone());
        let (min_replica, max_replica) =
            (self.min_replica.unwrap_or(1), self.max_replica.unwrap_or(1));
        if min_replica > max_replica {
            return Err(wrong("min_replica: expected at most max_replica"));
        }
        let or = |given: &Option<String>, default: &str| {
            given.clone().unwrap_or_else(|| default.to_owned())
        };
        Ok(Plan {
            vendor: or(&self.vendor, "aws"),
            region: or(&self.region, "us-east-1"),
            accelerator: or(&self.accelerator, "gpu"),
            instances,
            endpoint_type: self.endpoint_type.unwrap_or_default(),
            framework: or(&self.framework, "pytorch"),
            task: or(&self.task, "text-generation"),
            image_url,
            health_route: or(&self.health_route, "/health"),
            env,
            min_replica,
            max_replica,
            scale_to_zero_timeout: self.scale_to_zero_timeout,
        })
    }

    /// The environment of TGI's launcher (wire.md 2.9 for the log-probabilities of a prompt, prior-system.md 1.5
    /// for the rest).
    fn tgi_env(&self) -> BTreeMap<String, String> {
        let numbers = [
            ("MAX_INPUT_LENGTH", self.max_input_length),
            ("MAX_TOTAL_TOKENS", self.max_total_tokens),
            ("MAX_BATCH_PREFILL_TOKENS", self.max_batch_prefill_tokens),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, n)| Some((name, n?.to_string())));
        let dtype: &[(&str, &str)] = match self.dtype {
            None => &[],
            Some(Dtype::Float16) => &[("DTYPE", "float16"), ("HF_INFERENCE_PRECISION", "float16")],
            Some(Dtype::Bfloat16) => {
                &[("DTYPE", "bfloat16"), ("HF_INFERENCE_PRECISION", "bfloat16")]
            }
            Some(Dtype::Awq) => &[("QUANTIZE", "awq")],
            Some(Dtype::Eetq) => &[("QUANTIZE", "eetq")],
            Some(Dtype::Gptq) => &[("QUANTIZE", "gptq")],
            Some(Dtype::EightBit) => &[("QUANTIZE", "bitsandbytes")],
            Some(Dtype::FourBit) => &[("QUANTIZE", "bitsandbytes-nf4")],
        };
        let fixed = [("MODEL_ID", "/repository"), ("ENABLE_PREFILL_LOGPROBS", "true")];
        let texts = fixed.iter().chain(dtype).map(|(name, value)| (*name, (*value).to_owned()));
        texts.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn text_defaults(&self) -> Defaults {
        Defaults {
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            typical_p: self.typical_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            truncate: self.truncate,
            watermark: self.watermark,
            adapter_id: self.adapter_id.clone(),
            details: self.details.unwrap_or(true),
            ..Defaults::default()
        }
    }

    fn chat_defaults(&self) -> ChatDefaults {
        ChatDefaults {
            max_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            reasoning_effort: self.reasoning_effort.clone(),
            extra_body: self.extra_body.clone(),
            separate_choices: self.separate_choices.unwrap_or(false),
        }
    }

    fn check_ranges(&self) -> Result<()> {
        for (key, value) in [
            ("max_new_tokens", self.max_new_tokens),
            ("truncate", self.truncate),
            ("max_loading_wait", self.max_loading_wait),
            ("wait_timeout", self.wait_timeout),
            ("poll_interval", self.poll_interval),
            ("scale_up_timeout", self.scale_up_timeout),
            ("max_replica", self.max_replica),
        ] {
            if value == Some(0) {
                return Err(wrong(&format!("{key}: expected 1 or more")));
            }
        }
        if self.temperature.is_some_and(|temperature| temperature < 0.0) {
            return Err(wrong("temperature: expected 0 (greedy) or more"));
        }
        for (key, value) in [("top_p", self.top_p), ("typical_p", self.typical_p)] {
            if value.is_some_and(|value| value <= 0.0 || value > 1.0) {
                return Err(wrong(&format!("{key}: expected more than 0, and at most 1 (off)")));
            }
        }
        Ok(())
    }

    fn refuse_keys_of_other_modes(&self) -> Result<()> {
        let router = [("provider", self.provider.is_some()), ("bill_to", self.bill_to.is_some())];
        let serverless = [
            ("wait_for_model", self.wait_for_model.is_some()),
            ("use_cache", self.use_cache.is_some()),
            ("max_loading_wait", self.max_loading_wait.is_some()),
        ];
        let endpoint = [
            ("name", self.name.is_some()),
            ("engine", self.engine.is_some()),
            ("health_route", self.health_route.is_some()),
            ("scale_up_timeout", self.scale_up_timeout.is_some()),
            ("wait_timeout", self.wait_timeout.is_some()),
            ("poll_interval", self.poll_interval.is_some()),
        ];
        let text = [
            ("typical_p", self.typical_p.is_some()),
            ("truncate", self.truncate.is_some()),
            ("watermark", self.watermark.is_some()),
            ("adapter_id", self.adapter_id.is_some()),
            ("details", self.details.is_some()),
        ];
        let chat = [
            ("presence_penalty", self.presence_penalty.is_some()),
            ("min_p", self.min_p.is_some()),
            ("reasoning_effort", self.reasoning_effort.is_some()),
            ("extra_body", !self.extra_body.is_empty()),
            ("separate_choices", self.separate_choices.is_some()),
        ];
        let management = self.keys_of_management();
        // An endpoint may turn out to be of either kind, so it takes the values of both.
        let refused: [(&[(&str, bool)], &str); 4] = match self.mode {
            Mode::Router => [
                (&serverless, "serverless"),
                (&endpoint, "endpoint"),
                (&management, "endpoint"),
                (&text, "serverless\" or \"endpoint"),
            ],
            Mode::Serverless => [
                (&router, "router"),
                (&endpoint, "endpoint"),
                (&management, "endpoint"),
                (&chat, "router\" or \"endpoint"),
            ],
            Mode::Endpoint => {
                [(&router, "router"), (&serverless, "serverless"), (&[], ""), (&[], "")]
            }
        };
        for (keys, home) in refused {
            if let Some((key, _)) = keys.iter().find(|(_, set)| *set) {
                let mode = self.mode.as_str();
                return Err(wrong(&format!(
                    "{key}: has no effect with mode = \"{mode}\"; it is for mode = \"{home}\""
                )));
            }
        }
        Ok(())
    }

    /// The keys that mean the management API, and whether they are set.
    fn keys_of_management(&self) -> [(&'static str, bool); 23] {
        [
            ("namespace", self.namespace.is_some()),
            ("reuse_existing", self.reuse_existing.is_some()),
            ("auto_start", self.auto_start.is_some()),
            ("on_finish", self.on_finish.is_some()),
            ("vendor", self.vendor.is_some()),
            ("region", self.region.is_some()),
            ("accelerator", self.accelerator.is_some()),
            ("instance_type", self.instance_type.is_some()),
            ("instance_size", self.instance_size.is_some()),
            ("fallback_instances", !self.fallback_instances.is_empty()),
            ("endpoint_type", self.endpoint_type.is_some()),
            ("revision", self.revision.is_some()),
            ("framework", self.framework.is_some()),
            ("task", self.task.is_some()),
            ("image_url", self.image_url.is_some()),
            ("dtype", self.dtype.is_some()),
            ("max_input_length", self.max_input_length.is_some()),
            ("max_total_tokens", self.max_total_tokens.is_some()),
            ("max_batch_prefill_tokens", self.max_batch_prefill_tokens.is_some()),
            ("env_vars", !self.env_vars.is_empty()),
            ("min_replica", self.min_replica.is_some()),
            ("max_replica", self.max_replica.is_some()),
            ("scale_to_zero_timeout", self.scale_to_zero_timeout.is_some()),
        ]
    }
}

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

fn required_model(model: Option<String>, mode: Mode) -> Result<String> {
    let model = model.filter(|model| !model.is_empty()).ok_or_else(|| {
        let mode = mode.as_str();
        wrong(&format!(
            "model: mode = \"{mode}\" needs the model's name on the Hub, `acme/model-7b` say"
        ))
    })?;
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '\\');
    if model.contains(strange) || model.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("model: expected a name on the Hub, `acme/model-7b` say"));
    }
    Ok(model)
}

/// The model with the provider as its suffix.
fn with_provider(model: String, provider: Option<String>) -> Result<String> {
    let Some(provider) = provider else { return Ok(model) };
    let provider = provider.trim_start_matches(':');
    if provider.is_empty() || !is_one_segment(provider) {
        return Err(wrong(
            "provider: expected a provider's name, or fastest, cheapest or preferred",
        ));
    }
    match model.rsplit_once(':') {
        Some((_, suffix)) if suffix == provider => Ok(model),
        Some((_, suffix)) => Err(wrong(&format!(
            "provider: says `{provider}`, and the model's own suffix `{suffix}`; keep one of them"
        ))),
        None => Ok(format!("{model}:{provider}")),
    }
}

/// The further headers, names in lower case.
fn headers(given: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|(name, value)| match name.to_ascii_lowercase() {
            name if name == "authorization" || name == "cookie" => Err(wrong(&format!(
                "extra_headers: `{name}` carries a secret, which a run file must not; the token is the slot \
                 `hf_token`"
            ))),
            name if name == "content-type" => {
                Err(wrong("extra_headers: `content-type` is the plugin's own"))
            }
            name => Ok((name, value.clone())),
        })
        .collect()
}

/// Whether a text is one segment of a path as it stands.
fn is_one_segment(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(plain) && !text.chars().all(|c| c == '.')
}

pub(crate) fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
