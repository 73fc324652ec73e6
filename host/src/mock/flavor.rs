//! Which wires there are, and their names.

use std::{fmt, str::FromStr};

use super::{
    exchange::Wire,
    flavors::{
        anthropic::Anthropic, azure::Azure, gemini::Gemini, huggingface::HuggingFace,
        moonshot::Moonshot, ollama::Ollama, openai::OpenAi, sglang::Sglang, tgi::Tgi, vllm::Vllm,
        xai::Xai,
    },
};

/// A vendor's wire. Its name is the first part of the path at which the mock serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Text Generation Inference 3.3.
    Tgi,
    /// SGLang 0.5.
    Sglang,
    /// Ollama's native API.
    Ollama,
    /// OpenAI, and vLLM under model names of its own.
    OpenAi,
    /// vLLM, whatever the model's name.
    Vllm,
    /// Azure OpenAI.
    Azure,
    /// xAI.
    Xai,
    /// Moonshot.
    Moonshot,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Hugging Face's router, classic models and Inference Endpoints.
    HuggingFace,
}

impl Flavor {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Tgi,
        Self::Sglang,
        Self::Vllm,
        Self::OpenAi,
        Self::Azure,
        Self::Anthropic,
        Self::Gemini,
        Self::Xai,
        Self::Moonshot,
        Self::HuggingFace,
        Self::Ollama,
    ];

    /// As it is typed, and as it stands in a path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tgi => "tgi",
            Self::Sglang => "sglang",
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::Vllm => "vllm",
            Self::Azure => "azure",
            Self::Xai => "xai",
            Self::Moonshot => "moonshot",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::HuggingFace => "huggingface",
        }
    }

    pub(crate) fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Tgi => &Tgi,
            Self::Sglang => &Sglang,
            Self::Ollama => &Ollama,
            Self::OpenAi => &OpenAi,
            Self::Vllm => &Vllm,
            Self::Azure => &Azure,
            Self::Xai => &Xai,
            Self::Moonshot => &Moonshot,
            Self::Anthropic => &Anthropic,
            Self::Gemini => &Gemini,
            Self::HuggingFace => &HuggingFace,
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no flavor has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no flavor of the mock is called `{0}`; expected one of {names}", names = names())]
pub struct UnknownFlavor(String);

fn names() -> String {
    Flavor::ALL.map(Flavor::name).join(", ")
}

impl FromStr for Flavor {
    type Err = UnknownFlavor;

    fn from_str(name: &str) -> Result<Self, UnknownFlavor> {
        let known = Self::ALL.into_iter().find(|flavor| flavor.name() == name);
        known.ok_or_else(|| UnknownFlavor(name.to_owned()))
    }
}

/// The flavor that a path names, and the path below it; a path that names none is the root flavor's.
///
/// Azure's own paths begin with the name of another flavor, so that one gives way where Azure is the root.
pub(crate) fn route(path: &str, root: Flavor) -> (Flavor, &str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (first, below) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    match first.parse() {
        Ok(Flavor::OpenAi) if root == Flavor::Azure && is_azures(below) => (root, path),
        Ok(flavor) => (flavor, below),
        Err(_) => (root, path),
    }
}

/// Whether Azure has such a path below `/openai`.
fn is_azures(below: &str) -> bool {
    let first = below.split('/').nth(1);
    matches!(first, Some("deployments" | "v1" | "models"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_flavor_or_is_the_roots() {
        let table = [
            ("/sglang/v1/models", Flavor::Sglang, "/v1/models"),
            ("/sglang", Flavor::Sglang, "/"),
            ("/sglang/", Flavor::Sglang, "/"),
            ("/tgi/generate", Flavor::Tgi, "/generate"),
            ("/v1/models", Flavor::Ollama, "/v1/models"),
            ("/sglangs/generate", Flavor::Ollama, "/sglangs/generate"),
            ("/", Flavor::Ollama, "/"),
        ];
        for (path, flavor, below) in table {
            assert_eq!(route(path, Flavor::Ollama), (flavor, below), "{path}");
        }
    }

    #[test]
    fn azures_own_paths_are_its_own_where_it_is_the_root() {
        let chat = "/openai/deployments/gpt-4o/chat/completions";
        let table = [
            (chat, Flavor::Azure, chat),
            ("/openai/v1/chat/completions", Flavor::Azure, "/openai/v1/chat/completions"),
            ("/openai/models", Flavor::Azure, "/openai/models"),
            ("/openai/chat/completions", Flavor::OpenAi, "/chat/completions"),
            ("/openai/v10/models", Flavor::OpenAi, "/v10/models"),
            ("/openai", Flavor::OpenAi, "/"),
            ("/azure/openai/v1/models", Flavor::Azure, "/openai/v1/models"),
            ("/vllm/v1/models", Flavor::Vllm, "/v1/models"),
        ];
        for (path, flavor, below) in table {
            assert_eq!(route(path, Flavor::Azure), (flavor, below), "{path}");
        }
        assert_eq!(route("/openai/v1/models", Flavor::OpenAi), (Flavor::OpenAi, "/v1/models"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for flavor in Flavor::ALL {
            assert_eq!(flavor.to_string().parse(), Ok(flavor));
        }
        let error = "llamafile".parse::<Flavor>().unwrap_err().to_string();
        assert!(error.contains("`llamafile`") && error.contains("expected one of tgi"), "{error}");
    }
}
