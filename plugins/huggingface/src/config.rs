//! What a run file may say of a Hugging Face backend, as it is typed. The doc comments are the JSON Schema's
//! descriptions; [`crate::resolve`] makes of it what is meant.
//!
//! Keys are optional even where they have a default, so that a key of another mode can be refused by name.
//! Knows nothing of requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Hugging Face: the router of Inference Providers, serverless text generation, or an Inference Endpoint.
///
/// The token is the secret slot `hf_token`: environment variable `HF_TOKEN`, others, or the file that
/// `hf auth login` writes. It goes to Hugging Face's own hosts; a `base_url` elsewhere gets it only if its table
/// says `secrets = ["hf_token"]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which service: `router` (chat over Inference Providers, the default), `serverless` (classic text
    /// generation of hf-inference) or `endpoint` (an Inference Endpoint).
    #[serde(default)]
    pub mode: Mode,
    /// What takes the place of the service's own address. Its path is completed for the mode: the router needs
    /// `/v1`, serverless `/hf-inference/models`, and an endpoint with a `name` the management API's `/v2`. A path
    /// that has a version (`/v1`, `/v3/openai`) or ends in `/models` is complete and stays as it is. For an endpoint
    /// without a `name` it is the endpoint's own URL.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The model's name on the Hub, `acme/model-7b` say. The router takes a suffix with it: `:novita` forces a
    /// provider, `:fastest`, `:cheapest` and `:preferred` choose one. An endpoint that is found need not be told.
    #[serde(default)]
    pub model: Option<String>,
    /// Further headers of every request to the model, by name. None that carries a key.
    #[serde(default)]
    pub extra_headers: BTreeMap<String, String>,

    /// Most tokens to generate where a request does not say.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u32>,
    /// Sampling temperature where a request does not say; 0 is greedy.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub temperature: Option<f64>,
    /// Nucleus sampling where a request does not say; 1 is off.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens where a request does not say; 0 is off.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// Penalty on tokens by their frequency, between -2 and 2; 0 is none.
    #[serde(default)]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub frequency_penalty: Option<f64>,
    /// Penalty on tokens that were already there; 1 is none.
    #[serde(default)]
    pub repetition_penalty: Option<f64>,
    /// Penalty on tokens that were already there, between -2 and 2; 0 is none. Chat completions only.
    #[serde(default)]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub presence_penalty: Option<f64>,
    /// Least probability of a token as a part of the likeliest one's. Chat completions only, where the provider
    /// has it.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: Option<f64>,
    /// How long a reasoning model shall think, in the provider's words. Chat completions only.
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    /// Further fields of the body, sent as they stand. Chat completions only.
    #[serde(default)]
    pub extra_body: Map<String, Value>,
    /// Asks for each of several choices by a request of its own (default: false), for providers that do not know
    /// `n`. Chat completions only: text generation always does.
    #[serde(default)]
    pub separate_choices: Option<bool>,
    /// Typical decoding where a request does not say; 1 is off. Text generation only.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub typical_p: Option<f64>,
    /// Keeps the last so many tokens of a prompt that is too long; never applied to log-likelihood. Text
    /// generation only.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub truncate: Option<u32>,
    /// Marks the text, which changes what is sampled. Text generation only.
    #[serde(default)]
    pub watermark: Option<bool>,
    /// A LoRA adapter that the server has loaded. Text generation only.
    #[serde(default)]
    pub adapter_id: Option<String>,
    /// Asks for finish reasons and token counts (default: true). Text generation only.
    #[serde(default)]
    pub details: Option<bool>,

    /// Router: the provider (`novita`), or how one is chosen (`fastest`, `cheapest`, `preferred`). It is the suffix
    /// of the model's name, which may carry it as well.
    #[serde(default)]
    pub provider: Option<String>,
    /// Router: the organisation, or resource group, that pays (`X-HF-Bill-To`).
    #[serde(default)]
    pub bill_to: Option<String>,

    /// Serverless: lets the service hold a request while it loads the model (default: false; the host waits by
    /// itself and tries again).
    #[serde(default)]
    pub wait_for_model: Option<bool>,
    /// Serverless: whether the service may answer from its cache. Unset, it may for greedy requests and not for
    /// sampled ones, which would all be the same.
    #[serde(default)]
    pub use_cache: Option<bool>,
    /// Serverless: longest wait before the next attempt while the model loads, in seconds, whatever time the
    /// service estimates (default: 60).
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_loading_wait: Option<u32>,

    /// Endpoint: its name. With it the endpoint is looked up over the management API, started or created.
    /// Without it, `base_url` says where the endpoint is.
    #[serde(default)]
    pub name: Option<String>,
    /// Endpoint: the user or organisation that it belongs to (default: the token's user).
    #[serde(default)]
    pub namespace: Option<String>,
    /// Endpoint: what it speaks (default: `auto`, which asks it).
    #[serde(default)]
    pub engine: Option<Engine>,
    /// Endpoint: where it says that it is ready (default: what the management API says, else `/health`).
    #[serde(default)]
    pub health_route: Option<String>,
    /// Endpoint: seconds for which the proxy shall hold a request while a replica starts
    /// (`X-Scale-Up-Timeout`). Unset, it answers 503 at once and the host tries again.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub scale_up_timeout: Option<u32>,
    /// Endpoint: longest time until it must be ready, in seconds (default: 1800).
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub wait_timeout: Option<u32>,
    /// Endpoint: time between two looks at it, in seconds (default: 5).
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub poll_interval: Option<u32>,
    /// Endpoint: uses one of this name that is there already (default: true); false makes that an error.
    #[serde(default)]
    pub reuse_existing: Option<bool>,
    /// Endpoint: resumes one that is paused, and creates one that is not there (default: true).
    #[serde(default)]
    pub auto_start: Option<bool>,
    /// Endpoint: what becomes of it after the run (default: `pause`).
    #[serde(default)]
    pub on_finish: Option<OnFinish>,

    /// New endpoint: the cloud (default: `aws`).
    #[serde(default)]
    pub vendor: Option<String>,
    /// New endpoint: the cloud's region (default: `us-east-1`).
    #[serde(default)]
    pub region: Option<String>,
    /// New endpoint: `gpu` (default), `cpu` or `neuron`.
    #[serde(default)]
    pub accelerator: Option<String>,
    /// New endpoint: the machine, `nvidia-a10g` say. Needed to create one.
    #[serde(default)]
    pub instance_type: Option<String>,
    /// New endpoint: how much of it, `x1` say. Needed to create one.
    #[serde(default)]
    pub instance_size: Option<String>,
    /// New endpoint: machines to try, in this order, if it fails to start on the first one.
    #[serde(default)]
    pub fallback_instances: Vec<Instance>,
    /// New endpoint: who may call it (default: `authenticated`).
    #[serde(default)]
    pub endpoint_type: Option<EndpointType>,
    /// New endpoint: the model's revision (default: its main branch). One that is found must have it.
    #[serde(default)]
    pub revision: Option<String>,
    /// New endpoint: the framework (default: `pytorch`).
    #[serde(default)]
    pub framework: Option<String>,
    /// New endpoint: the task (default: `text-generation`).
    #[serde(default)]
    pub task: Option<String>,
    /// New endpoint: the container's image (default: Text Generation Inference).
    #[serde(default)]
    pub image_url: Option<String>,
    /// New endpoint: precision or quantisation of TGI: `float16`, `bfloat16`, `awq`, `eetq`, `gptq`, `8bit`
    /// or `4bit`.
    #[serde(default)]
    pub dtype: Option<Dtype>,
    /// New endpoint: most tokens of a prompt (`MAX_INPUT_LENGTH`). Unset, TGI takes what fits the machine.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_input_length: Option<u32>,
    /// New endpoint: most tokens of prompt and answer (`MAX_TOTAL_TOKENS`). Unset, as above.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_total_tokens: Option<u32>,
    /// New endpoint: most prompt tokens of a batch (`MAX_BATCH_PREFILL_TOKENS`). Unset, as above.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_batch_prefill_tokens: Option<u32>,
    /// New endpoint: environment variables of the container. They win over those that the plugin sets for TGI.
    /// No secrets: they can be read in the endpoint's settings.
    #[serde(default)]
    pub env_vars: BTreeMap<String, String>,
    /// New endpoint: least number of replicas (default: 1; 0 lets it scale to zero).
    #[serde(default)]
    pub min_replica: Option<u32>,
    /// New endpoint: most replicas (default: 1).
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_replica: Option<u32>,
    /// New endpoint: minutes without a request after which it scales to zero. Unset, it never does.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub scale_to_zero_timeout: Option<u32>,
}

/// Which of Hugging Face's services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Chat over Inference Providers.
    #[default]
    Router,
    /// Classic text generation of hf-inference.
    Serverless,
    /// An Inference Endpoint.
    Endpoint,
}

impl Mode {
    /// The name in a run file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Serverless => "serverless",
            Self::Endpoint => "endpoint",
        }
    }
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Found out by asking.
    #[default]
    Auto,
    /// TGI's own routes.
    Tgi,
    /// Chat completions: vLLM, SGLang, llama.cpp.
    Openai,
}

/// What becomes of an endpoint after the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFinish {
    /// It stays as it is.
    Keep,
    /// What this run created or resumed is paused, what it woke is scaled to zero again; what ran before goes
    /// on.
    #[default]
    Pause,
    /// What this run created is deleted; otherwise as `pause`.
    Delete,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointType {
    /// Anybody.
    Public,
    /// Whoever has a token.
    #[default]
    Authenticated,
    /// Only its own cloud network.
    Private,
}

/// A machine of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The machine, `nvidia-a10g` say.
    pub instance_type: String,
    /// How much of it, `x4` say.
    pub instance_size: String,
}

/// Precision or quantisation that TGI is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 16-bit floats.
    Float16,
    /// 16-bit floats with the range of 32-bit ones.
    Bfloat16,
    /// Weights quantised by AWQ.
    Awq,
    /// 8-bit weights by EETQ.
    Eetq,
    /// Weights quantised by GPTQ.
    Gptq,
    /// 8-bit weights by bitsandbytes.
    #[serde(rename = "8bit")]
    EightBit,
    /// 4-bit weights by bitsandbytes.
    #[serde(rename = "4bit")]
    FourBit,
}
