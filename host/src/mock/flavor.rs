//! Which wires there are, and their names.

use std::{fmt, str::FromStr};

use super::{
    exchange::Wire,
    flavors::{
        anthropic::Anthropic, azure::Azure, gemini::Gemini, huggingface::HuggingFace,
        moonshot::Moonshot, ollama::Ollama, openai::OpenAi, sglang::Sglang, tgi::Tgi, xai::Xai,
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
    pub const ALL: [Self; 10] = [
        Self::Tgi,
        Self::Sglang,
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
pub(crate) fn route(path: &str, root: Flavor) -> (Flavor, &str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (first, below) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    match first.parse() {
        Ok(flavor) => (flavor, below),
        Err(_) => (root, path),
    }
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
    fn names_are_read_as_they_are_written() {
        for flavor in Flavor::ALL {
            assert_eq!(flavor.to_string().parse(), Ok(flavor));
        }
        let error = "vllm".parse::<Flavor>().unwrap_err().to_string();
        assert!(error.contains("`vllm`") && error.contains("expected one of tgi"), "{error}");
    }
}
