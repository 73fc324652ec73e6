//! Who a server is, and log-likelihood over `/completions`: which way the server has, token ids where it tokenises, and
//! the calls.
//!
//! What replies mean is [`crate::likelihood`]'s business. A list of models is asked for once, since servers name
//! themselves there.

use plugin_api::{
    Error, ErrorKind, HttpRequest, Io, Likelihood, Loglikelihood, Prompt, Reply, Result,
    capability::Capability, join_all, split_context,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::atomic::Ordering;
use wire::openai::{Completion, Input, Parameters, failure};

use crate::{
    Litellm, Wire,
    config::{Mode, Scoring},
    likelihood::{self, Scored, Tokenized},
    parameters::invalid,
};

/// What a server says of itself in its list of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `vllm`, `sglang`, `llamacpp`, or whoever the vendor is.
    pub owned_by: String,
    /// Context size in tokens, where it tells it.
    pub context_tokens: Option<u64>,
}

/// Engines that take sampling values nobody sent from the model's `generation_config.json` (vLLM, SGLang) or from their
/// own command line (llama.cpp), so that a score would hang on how the server was started.
const FILL_IN: [&str; 3] = ["vllm", "sglang", LLAMA_CPP];

/// llama.cpp's name for itself.
const LLAMA_CPP: &str = "llamacpp";

#[derive(Debug, Deserialize)]
struct Models {
    #[serde(default)]
    data: Vec<Model>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Model {
    id: String,
    owned_by: Option<String>,
    max_model_len: Option<u64>,
    /// llama.cpp's.
    meta: Option<Meta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    n_ctx: Option<u64>,
}

impl Server {
    /// Whether it fills in what is unset.
    pub fn fills_in(&self) -> bool {
        FILL_IN.contains(&self.owned_by.as_str())
    }

    /// Whether it gives several choices at once. llama.cpp's refuses more than it has slots for.
    pub fn gives_several(&self) -> bool {
        self.owned_by != LLAMA_CPP
    }

    /// Reads a list of models; the served one is that of this name, else the first.
    pub fn of(reply: &Reply, model: &str) -> Option<Self> {
        let models: Models = reply.json().ok()?;
        let named = models.data.iter().find(|known| known.id == model).or(models.data.first())?;
        Some(Self {
            owned_by: named.owned_by.clone().unwrap_or_default(),
            context_tokens: named
                .max_model_len
                .or_else(|| named.meta.as_ref().and_then(|meta| meta.n_ctx)),
        })
    }
}

/// How the prompt's log-probabilities are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    PromptLogprobs,
    Echo,
}

impl Litellm {
    /// Scores each continuation after the context.
    pub(crate) async fn scores(
        &self,
        request: &Loglikelihood<'_>,
        io: &Io,
    ) -> Result<Vec<Likelihood>> {
        let Prompt::Text(prompt) = request.prompt else {
            return Err(Error::unsupported(
                "log-likelihood after chat messages: this wire scores texts (write the task as text, or use a \
                 backend that renders messages)",
            ));
        };
        let (context, moved) = split_context(prompt);
        if moved.is_empty() && request.continuations.contains(&"") {
            return Err(invalid("an empty continuation has no score"));
        }
        let way = self.way(io).await?;
        let wholes: Vec<String> =
            request.continuations.iter().map(|more| [prompt, more].concat()).collect();
        let texts = std::iter::once(context).chain(wholes.iter().map(String::as_str));
        let tokens = join_all(texts.map(|text| self.ids(text, io))).await;
        let mut tokens = tokens.into_iter().collect::<Result<Vec<_>>>()?.into_iter();
        let context_ids = tokens.next().flatten();
        let ids: Option<Vec<Vec<u32>>> = tokens.collect();
        let scored: Vec<(Vec<Scored>, usize, bool)> = match context_ids.zip(ids) {
            Some((context, wholes)) => {
                let joined = wholes.iter().map(|whole| likelihood::join(&context, whole));
                let joined = joined.collect::<Result<Vec<_>>>()?;
                let ids: Vec<&[u32]> = joined.iter().map(|joined| &*joined.ids).collect();
                let prompts = self.all_of_ids(way, &ids, io).await?.into_iter().zip(&joined);
                prompts.map(|(prompt, joined)| (prompt, joined.context, joined.merged)).collect()
            }
            None => {
                let texts: Vec<&str> = wholes.iter().map(String::as_str).collect();
                let echoes = self.all_echoes(&texts, io).await?.into_iter().zip(&wholes);
                let scored = echoes.map(|(echo, whole)| {
                    let continuation = whole.get(context.len()..).unwrap_or_default();
                    likelihood::of_text(echo, context, continuation)
                });
                scored.collect::<Result<_>>()?
            }
        };
        let sum = |(prompt, first, merged): (Vec<Scored>, usize, bool)| {
            likelihood::sum(&prompt, first, merged, request.token_logprobs)
        };
        scored.into_iter().map(sum).collect()
    }

    /// Scores prompts by their tokens, all by one request where the server takes that.
    async fn all_of_ids(&self, way: Way, all: &[&[u32]], io: &Io) -> Result<Vec<Vec<Scored>>> {
        let singly = || join_all(all.iter().map(|ids| self.of_ids(way, ids, io)));
        if !self.scores_lists(all.len()) {
            return singly().await.into_iter().collect();
        }
        let at_once = self.of_lists(way, all, io).await;
        self.at_once_or(at_once, singly).await
    }

    /// Scores texts, all by one request where the server takes that.
    async fn all_echoes(&self, all: &[&str], io: &Io) -> Result<Vec<Vec<Scored>>> {
        let singly = || join_all(all.iter().map(|text| self.echo(Input::Text(text, ""), io)));
        if !self.scores_lists(all.len()) {
            return singly().await.into_iter().collect();
        }
        let at_once = self.echoes(Input::Texts(all), all.len(), io).await;
        self.at_once_or(at_once, singly).await
    }

    fn scores_lists(&self, prompts: usize) -> bool {
        prompts > 1 && self.config.loglikelihood_batch && !self.no_lists.load(Ordering::Relaxed)
    }

    /// Not every server takes a list of prompts: one that does not, but takes each by itself, is not given another.
    async fn at_once_or<F: Future<Output = Vec<Result<Vec<Scored>>>>>(
        &self,
        at_once: Result<Vec<Vec<Scored>>>,
        singly: impl FnOnce() -> F,
    ) -> Result<Vec<Vec<Scored>>> {
        match at_once {
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::InvalidRequest | ErrorKind::UnexpectedReply | ErrorKind::Unsupported
                ) =>
            {
                let scored = singly().await.into_iter().collect::<Result<_>>()?;
                self.no_lists.store(true, Ordering::Relaxed);
                Ok(scored)
            }
            other => other,
        }
    }

    /// Scores a whole text but its first token, which has no condition: the one that the server puts before it, or
    /// the text's own where it puts none.
    pub(crate) async fn rolling(&self, text: &str, io: &Io) -> Result<Likelihood> {
        let way = self.way(io).await?;
        let prompt = match self.ids(text, io).await? {
            Some(ids) => self.of_ids(way, &ids, io).await?,
            None => {
                let echo = self.echo(Input::Text(text, ""), io).await?;
                // Everything but its first character counts as continuation: only the texts are checked here.
                let first = text.char_indices().nth(1).map_or(text.len(), |(at, _)| at);
                let (head, rest) = text.split_at(first);
                match likelihood::of_text(echo.clone(), head, rest) {
                    Ok((prompt, _, _)) => prompt,
                    // The first token holds the first character and more, as it mostly does.
                    Err(_) => likelihood::of_text(echo, "", text).map(|(prompt, _, _)| prompt)?,
                }
            }
        };
        likelihood::sum(&prompt, likelihood::first_scored(&prompt), false, false)
    }

    /// The way that the run file, or the server's own name, chooses.
    /// What of the plugin's abilities this backend lacks.
    pub(crate) async fn lacks(&self, io: &Io) -> Vec<Capability> {
        match self.way(io).await {
            Err(error) if error.kind == ErrorKind::Unsupported => {
                vec![Capability::Loglikelihood, Capability::LoglikelihoodRolling]
            }
            // A server that does not answer now may do so later.
            _ => Vec::new(),
        }
    }

    async fn way(&self, io: &Io) -> Result<Way> {
        if !matches!(self.wire, Wire::Openai(_)) {
            return Err(Error::unsupported(&format!(
                "log-likelihood: `{}` gives no log-probabilities of a prompt",
                self.provider.id
            )));
        }
        match self.config.loglikelihood {
            Scoring::Vllm => return Ok(Way::PromptLogprobs),
            Scoring::Echo => return Ok(Way::Echo),
            Scoring::None => {
                return Err(Error::unsupported("log-likelihood (loglikelihood = \"none\")"));
            }
            Scoring::Auto if self.config.mode == Mode::Chat => {
                return Err(Error::unsupported(
                    "log-likelihood in mode = \"chat\" (mode = \"completions\" has it, where the server scores \
                     prompts)",
                ));
            }
            Scoring::Auto => {}
        }
        if self.is_vendor() {
            return Ok(Way::Echo);
        }
        match self.server(io).await?.map_or("", |server| server.owned_by.as_str()) {
            "vllm" => Ok(Way::PromptLogprobs),
            LLAMA_CPP => Err(Error::unsupported(
                "log-likelihood: llama.cpp's server gives no log-probabilities of a prompt (the plugin `local` \
                 scores the same model file)",
            )),
            _ => Ok(Way::Echo),
        }
    }

    /// The engine behind a base URL that no provider is named for: it is asked. A provider's row says of itself what
    /// there is to know.
    pub(crate) async fn engine(&self, io: &Io) -> Result<Option<&Server>> {
        if self.provider.is_any() { self.server(io).await } else { Ok(None) }
    }

    /// Who the server is, asked once; none if it does not tell.
    ///
    /// # Errors
    /// It cannot tell yet: a server that is still loading must not be taken for another one for the whole run.
    pub(crate) async fn server(&self, io: &Io) -> Result<Option<&Server>> {
        if let Some(known) = self.server.get() {
            return Ok(known.as_ref());
        }
        let reply = self.keys.send(self.headed(HttpRequest::get(self.models_url())), io).await?;
        if matches!(reply.status, 408 | 429 | 502..=504) {
            return Err(self.failure(&reply));
        }
        let found = if reply.is_success() { Server::of(&reply, &self.model) } else { None };
        Ok(self.server.get_or_init(|| found).as_ref())
    }

    /// Whether the requests go to a vendor, who tokenises nothing for anybody, and not to a server of the user's.
    pub(crate) fn is_vendor(&self) -> bool {
        self.base.own && self.base.url.starts_with("https://")
    }

    /// The ids of a text's tokens; none if the server has no route for it.
    async fn ids(&self, text: &str, io: &Io) -> Result<Option<Vec<u32>>> {
        if self.is_vendor() || self.no_tokenize.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let root = self.base.url.strip_suffix("/v1").unwrap_or(&self.base.url);
        let body = json!({ "model": self.model, "prompt": text,
                           "add_special_tokens": self.config.add_special_tokens });
        let call = wire::json::body(HttpRequest::post(format!("{root}/tokenize")), &body)?;
        let reply = self.keys.send(self.headed(call), io).await?;
        let none = matches!(reply.status, 401 | 403 | 404 | 405 | 501);
        if !reply.is_success() && !none {
            return Err(self.keys.explain(failure::of(&reply)));
        }
        // llama.cpp's route of the same name knows another field and gives an empty list without a count.
        let tokenized = reply.json::<Tokenized>().ok().filter(|_| reply.is_success());
        match tokenized.filter(|found| found.count == found.tokens.len()) {
            Some(tokenized) => Ok(Some(tokenized.tokens)),
            None => {
                self.no_tokenize.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// The prompt's tokens, scored.
    async fn of_ids(&self, way: Way, ids: &[u32], io: &Io) -> Result<Vec<Scored>> {
        let one = self.of_input(way, Input::Ids(ids), &[ids], io).await?;
        one.into_iter().next().ok_or_else(nothing)
    }

    /// Each prompt's tokens, scored by one request.
    async fn of_lists(&self, way: Way, all: &[&[u32]], io: &Io) -> Result<Vec<Vec<Scored>>> {
        self.of_input(way, Input::Lists(all), all, io).await
    }

    async fn of_input(
        &self,
        way: Way,
        input: Input<'_>,
        all: &[&[u32]],
        io: &Io,
    ) -> Result<Vec<Vec<Scored>>> {
        match way {
            Way::PromptLogprobs => {
                let parameters = self.scoring_parameters(None)?;
                let body = Completion {
                    prompt_logprobs: Some(0),
                    ..Completion::new(&self.model, input, &parameters)
                };
                let reply = self.completion(&body, io).await?;
                likelihood::by_id(&reply, all).map_err(|error| self.keys.explain(error))
            }
            Way::Echo => {
                let echoes = self.echoes(input, all.len(), io).await?.into_iter().zip(all);
                echoes.map(|(echo, ids)| likelihood::of_prompt(echo, ids.len())).collect()
            }
        }
    }

    async fn echo(&self, prompt: Input<'_>, io: &Io) -> Result<Vec<Scored>> {
        self.echoes(prompt, 1, io).await?.into_iter().next().ok_or_else(nothing)
    }

    async fn echoes(&self, input: Input<'_>, prompts: usize, io: &Io) -> Result<Vec<Vec<Scored>>> {
        let mut parameters = self.scoring_parameters(Some(1))?;
        if matches!(input, Input::Text(..) | Input::Texts(_)) && !self.config.add_special_tokens {
            parameters.extra.insert("add_special_tokens".to_owned(), false.into());
        }
        let body = Completion { echo: true, ..Completion::new(&self.model, input, &parameters) };
        let reply = self.completion(&body, io).await?;
        likelihood::echoed(&reply, prompts).map_err(|error| self.keys.explain(error))
    }

    /// As little generation as every server allows, and none of the defaults of generation.
    fn scoring_parameters(&self, logprobs: Option<u32>) -> Result<Parameters> {
        let mut parameters = Parameters {
            max_tokens: Some(1),
            temperature: Some(0.0),
            logprobs,
            ..Parameters::default()
        };
        parameters.add_extra(&self.provider.body)?;
        parameters.add_extra(&self.config.extra_body)?;
        Ok(parameters)
    }

    async fn completion(&self, body: &Completion<'_>, io: &Io) -> Result<Reply> {
        let url = self.url(&self.provider.completions_route);
        let call = wire::json::body(HttpRequest::post(url), body)?;
        let reply = self.keys.send(self.headed(call), io).await?;
        if reply.status == 404 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the server has no /completions, by which texts are scored",
            ));
        }
        Ok(reply)
    }
}

/// As many came as were asked for, so this is never seen.
fn nothing() -> Error {
    Error::unexpected("expected one choice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_models_tells_who_serves_them() {
        let reply = |body: &str| Reply::new(200, &[], body.as_bytes());
        let body = r#"{"object":"list","data":[{"id":"a","owned_by":"x"},
                       {"id":"b","owned_by":"vllm","max_model_len":4096}]}"#;
        let server = Server::of(&reply(body), "b").unwrap();
        assert_eq!((server.owned_by.as_str(), server.context_tokens), ("vllm", Some(4096)));
        assert_eq!(Server::of(&reply(body), "c").unwrap().owned_by, "x");
        for other in ["[]", "{}", r#"{"data":7}"#, "<html>"] {
            assert!(Server::of(&reply(other), "a").is_none(), "{other}");
        }
    }
}
