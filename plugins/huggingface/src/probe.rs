//! What an endpoint speaks, found out by asking: TGI knows `/info`, the others `/v1/models`. wire.md 5.4.

use plugin_api::{
    Description, Error, ErrorKind, Host, HttpRequest, Io, Reply, Result, message::Str,
};
use serde::Deserialize;
use wire::{
    object::Object,
    openai::{Prefill, failure},
    tgi::Server,
};

use crate::{
    SCORING,
    call::{Caller, TOKEN},
    chat::ChatServer,
    config::Engine,
    settings,
};

/// What an endpoint speaks.
#[derive(Debug)]
pub enum Speaks {
    /// TGI's routes.
    Text(Box<Server>),
    /// Chat completions.
    Chat(Box<ChatServer>, Description),
}

/// One endpoint that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Its URL, without a slash at the end.
    pub url: &'a str,
    /// For requests to it.
    pub caller: &'a Caller,
    /// For the server that it turns out to be.
    pub host: &'a Host,
    /// What is configured.
    pub settings: &'a settings::Endpoint,
}

/// Reply of `/info`, as far as it tells one engine from another.
#[derive(Debug, Deserialize)]
struct Info {
    /// TGI; embedding servers have none.
    #[serde(default)]
    max_total_tokens: Option<u64>,
    /// Embedding servers.
    #[serde(default)]
    model_type: Option<serde::de::IgnoredAny>,
}

/// Reply of `/v1/models`.
#[derive(Debug, Deserialize)]
struct Models<'a> {
    #[serde(borrow)]
    data: Vec<Model<'a>>,
}

#[derive(Debug, Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow, default)]
    owned_by: Option<Str<'a>>,
    #[serde(default)]
    max_model_len: Option<u64>,
}

/// Reply of vLLM's `/version`.
#[derive(Debug, Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    version: Str<'a>,
}

impl Probe<'_> {
    /// What it speaks, as configured or as it says.
    ///
    /// # Errors
    /// What its refusals tell: while no replica is up, or where the token is refused, nothing is known of the
    /// engine. `unsupported` if it is neither.
    pub async fn ask(&self, io: &Io) -> Result<Speaks> {
        match self.settings.engine {
            Engine::Tgi => Ok(self.text()),
            Engine::Openai => self.ask_for_models(io).await,
            Engine::Auto => {
                let call = HttpRequest::get(format!("{}/info", self.url));
                if is_tgi(&io.send(self.caller.dress(call)).await?)? {
                    return Ok(self.text());
                }
                self.ask_for_models(io).await
            }
        }
    }

    fn text(&self) -> Speaks {
        let server =
            Server::new(self.url.to_owned(), self.settings.text.clone(), self.host.clone(), TOKEN);
        Speaks::Text(Box::new(server.with_headers(self.settings.headers.clone())))
    }

    /// Asks a server of chat completions who it is: `owned_by` names vLLM, SGLang and llama.cpp.
    async fn ask_for_models(&self, io: &Io) -> Result<Speaks> {
        let url = self.url;
        let get =
            |route: &str| io.send(self.caller.dress(HttpRequest::get(format!("{url}{route}"))));
        let (models, version) = (get("/v1/models"), get("/version"));
        let reply = models.await?;
        // The version is worth knowing, but not worth a failure.
        let version = version.await.ok();
        if !reply.is_success() {
            let mut error = failure::of(&reply);
            if reply.status == 404 {
                error.message =
                    "the endpoint knows neither /info, as TGI does, nor /v1/models: this plugin \
                                 speaks TGI and chat completions only"
                        .to_owned();
                error.kind = ErrorKind::Unsupported;
            }
            return Err(error);
        }
        let Object(models): Object<Models<'_>> = reply.json()?;
        let first = models.data.first().ok_or_else(|| {
            Error::unexpected("/v1/models names no model").with_excerpt(reply.body())
        })?;
        // The name that the server knows the model by, `/repository` often, is not the Hub's.
        let known = |name: &&String| models.data.iter().any(|model| *model.id == ***name);
        let configured = self.settings.model.as_ref().filter(known);
        let model = configured.cloned().unwrap_or_else(|| first.id.to_string());
        let engine = first.owned_by.as_deref().map(str::to_lowercase).unwrap_or_default();
        let server = ChatServer::new(
            self.caller.clone(),
            &format!("{url}/v1"),
            model.clone(),
            self.settings.chat.clone(),
        );
        let server = match engine.as_str() {
            "vllm" | "sglang" => server.with_an_open_engine(Prefill::ContinueFinal),
            "llamacpp" => server.with_an_open_engine(Prefill::AsIs),
            _ => server,
        };
        let version = version.as_ref().filter(|reply| reply.is_success());
        let description = Description {
            model: Some(self.settings.model.clone().unwrap_or(model)),
            engine: Some(engine).filter(|engine| !engine.is_empty()),
            version: version
                .and_then(|reply| reply.json::<Object<Version<'_>>>().ok())
                .map(|Object(version)| version.version.into_owned()),
            context_tokens: first.max_model_len,
            lacks: SCORING.to_vec(),
            ..Description::default()
        };
        Ok(Speaks::Chat(Box::new(server), description))
    }
}

/// Whether a reply to `/info` is TGI's.
///
/// # Errors
/// A refusal that says nothing of the engine. `unsupported` for a server of embeddings.
fn is_tgi(reply: &Reply) -> Result<bool> {
    if matches!(reply.status, 401..=403 | 429 | 500..=599) {
        return Err(failure::of(reply));
    }
    if !reply.is_success() {
        return Ok(false);
    }
    let Ok(Object(info)) = reply.json::<Object<Info>>() else { return Ok(false) };
    if info.max_total_tokens.is_none() && info.model_type.is_some() {
        return Err(Error::unsupported("an endpoint that serves embeddings"));
    }
    Ok(info.max_total_tokens.is_some())
}
