//! The list of models, and one of them.

use serde_json::{Value, json};

use super::{Dialect, Refusal, reply::CREATED};
use crate::mock::{exchange::Answer, flavors::cue};

impl Dialect {
    /// Models that the mock lists. It serves any other, too.
    const fn listed(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["gpt-4o-mini", "gpt-5-mini", "o4-mini", "davinci-002", "vllm-mock"],
            Self::Vllm => &["vllm-mock"],
            Self::Azure => &["gpt-4o-mini", "gpt-5-mini"],
            Self::Xai => &["grok-3", "grok-3-mini", "grok-4", "grok-code-fast-1"],
            Self::Moonshot => &["moonshot-v1-8k", "kimi-k2-0905-preview", "kimi-k2.5"],
            Self::HuggingFace => &["HuggingFaceTB/SmolLM3-3B", "deepseek-ai/DeepSeek-R1"],
        }
    }

    const fn owner(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Azure => "system",
            Self::Vllm => "vllm",
            Self::Xai => "xai",
            Self::Moonshot => "moonshot",
            Self::HuggingFace => "huggingface",
        }
    }

    fn model(self, id: &str) -> Value {
        let dialect = self.of_model(id);
        let mut model = json!({
            "id": id, "object": "model", "created": CREATED, "owned_by": dialect.owner(),
        });
        match dialect {
            Self::Vllm => {
                model["root"] = json!(id);
                model["parent"] = Value::Null;
                model["max_model_len"] = json!(dialect.context());
            }
            Self::HuggingFace => {
                model["providers"] = json!([
                    { "provider": "groq", "status": "live", "context_length": dialect.context() },
                    { "provider": "novita", "status": "live", "context_length": dialect.context() },
                ]);
            }
            _ => {}
        }
        model
    }
}

/// `/models`, or `/models/{id}`.
pub(crate) fn models(dialect: Dialect, id: Option<&str>) -> Answer {
    match id {
        None => {
            let models = dialect.listed().iter().map(|id| dialect.model(id));
            let models: Vec<Value> = models.collect();
            Answer::json(200, &json!({ "object": "list", "data": models }))
        }
        Some(id) if cue::is_missing(id) => dialect.refuse(&Refusal::missing_model(dialect, id)),
        Some(id) => Answer::json(200, &dialect.model(id)),
    }
}
