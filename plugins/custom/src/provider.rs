//! A provider as its run file means it: everything parsed and compiled, once, when the backend opens.
//!
//! What a single table can say is checked where it is compiled; here is what only two of them together can.

use plugin_api::{
    Error, Generate, Host, HttpRequest, Message, Prompt, Reply, Result, capability::Capability,
};

use crate::{
    condition::{Condition, Statuses},
    config::{Config, Method, RawHealth},
    decode,
    encode::{Generation, is_text_only},
    extract::wrong,
    failure::Failures,
    headers::Headers,
    stream,
    template::{KEY, Template},
};

/// A provider.
#[derive(Debug)]
pub struct Provider {
    /// The model that it is asked for.
    pub model: Option<String>,
    /// The body of a request.
    pub template: Template,
    /// Most stop texts that it takes.
    pub max_stop: Option<usize>,
    /// Where things are in its replies.
    pub reply: decode::Shape,
    /// Where things are in its streams, if it is asked for streams.
    pub stream: Option<stream::Shape>,
    /// What its failures mean.
    pub failures: Failures,
    headers: Headers,
    generate: Route,
    generate_stream: Route,
    health: Option<Health>,
}

#[derive(Clone, Debug)]
struct Route {
    method: Method,
    url: String,
}

#[derive(Debug)]
struct Health {
    route: Route,
    statuses: Option<Statuses>,
    condition: Option<Condition>,
}

impl Provider {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key.
    pub fn new(config: &Config, host: &Host) -> Result<Self> {
        let base = base_url(&config.base_url)?;
        let template = Template::compile(&config.generate.body)?;
        if template.mentions("model") && config.model.is_none() {
            return Err(wrong(KEY, "uses `model`, but `[[backend]]` names none"));
        }
        let reply = decode::Shape::compile(&config.reply)?;
        let stream =
            config.stream.as_ref().map(|raw| stream::Shape::compile(raw, &reply)).transpose()?;
        let method = config.generate.method;
        let generate = Route { method, url: url(base, "generate.path", &config.generate.path)? };
        let generate_stream = match config.stream.as_ref().map(|stream| stream.path.as_deref()) {
            Some(Some(path)) => Route { method, url: url(base, "stream.path", path)? },
            Some(None) if !template.mentions("stream") => {
                let message = format!(
                    "{KEY} does not mention `stream`, so the server would never know; or streams need a `path` of \
                     their own"
                );
                return Err(wrong("stream", message));
            }
            _ => generate.clone(),
        };
        let health = config.health.as_ref().map(|raw| Health::compile(base, raw)).transpose()?;
        let provider = Self {
            model: config.model.clone(),
            template,
            max_stop: config.generate.max_stop_sequences,
            reply,
            stream,
            failures: Failures::compile(&config.error)?,
            headers: Headers::compile(&config.headers, host)?,
            generate,
            generate_stream,
            health,
        };
        provider.try_body()?;
        Ok(provider)
    }

    /// What the configuration leaves out of what the plugin can do.
    pub fn lacks(&self) -> Vec<Capability> {
        let lacking = [
            (Capability::Chat, is_text_only(&self.template)),
            (Capability::Health, self.health.is_none()),
        ];
        lacking.into_iter().filter_map(|(what, lacks)| lacks.then_some(what)).collect()
    }

    /// A request for an answer, but for its body.
    pub fn ask(&self, stream: bool) -> HttpRequest<'_> {
        let route = if stream { &self.generate_stream } else { &self.generate };
        self.failures.ask(self.headers.put(route.request()))
    }

    /// A request that tells whether the server is ready, if there is one.
    pub fn ask_health(&self) -> Option<HttpRequest<'_>> {
        let health = self.health.as_ref()?;
        Some(self.failures.ask(self.headers.put(health.route.request())))
    }

    /// Whether the reply to [`Provider::ask_health`] is that of a server that is ready.
    pub fn is_healthy(&self, reply: &Reply) -> bool {
        let Some(health) = &self.health else {
            return false;
        };
        let status = match &health.statuses {
            Some(statuses) => statuses.contains(reply.status),
            None => reply.is_success(),
        };
        let said = |condition: &Condition| {
            serde_json::from_slice(reply.body()).is_ok_and(|value| condition.holds(&value))
        };
        status && health.condition.as_ref().is_none_or(said)
    }

    /// The failure that a reply without success tells.
    pub fn failure(&self, reply: &Reply) -> Error {
        self.failures.of(reply, self.headers.have_secret())
    }

    /// Translates a request.
    ///
    /// # Errors
    /// As for [`Generation::new`].
    pub fn generation<'a>(&'a self, request: &'a Generate<'_>) -> Result<Generation<'a>> {
        let has_logprobs = self.reply.tokens().is_some();
        let model = self.model.as_deref();
        Generation::new(&self.template, model, self.max_stop, has_logprobs, request)
    }

    /// Renders the body for requests with little and with everything, so that a template that does not render to
    /// JSON is refused before the first sample. What depends on parameters of the vendor's own, or on the number of
    /// messages, cannot be known.
    fn try_body(&self) -> Result<()> {
        const TEXT: &str = "A \"quoted\" text\nof two lines, with a \\ in it";
        let chat = vec![Message::text("system", TEXT), Message::text("user", TEXT)];
        let bare = Generate::new(Prompt::Text(TEXT));
        let full = Generate {
            n: 2,
            max_tokens: Some(1),
            temperature: Some(0.5),
            top_p: Some(0.5),
            top_k: Some(1),
            stop: vec![TEXT.into(), TEXT.into()],
            seed: Some(1),
            logprobs: Some(1),
            stream: true,
            ..bare.clone()
        };
        let chat = Generate { prompt: Prompt::Messages(chat), ..full.clone() };
        let mut without_value = None;
        let mut rendered = false;
        for (what, request) in [
            ("a text prompt without parameters", bare),
            ("a text prompt with all parameters", full),
            ("chat messages", chat),
        ] {
            // A template for text prompts alone is in order.
            let Ok(generation) = self.generation(&request) else {
                continue;
            };
            for call in generation.calls(request.stream && self.stream.is_some()) {
                match generation.body(call, "request", 1) {
                    Ok(_) => rendered = true,
                    Err(error) => {
                        let message = format!("for {what}: {}", error.message);
                        if !error.undefined {
                            return Err(wrong(KEY, message));
                        }
                        without_value.get_or_insert(message);
                    }
                }
            }
        }
        match without_value {
            Some(message) if !rendered && !self.template.mentions("extra") => {
                Err(wrong(KEY, message))
            }
            _ => Ok(()),
        }
    }
}

impl Route {
    fn request(&self) -> HttpRequest<'_> {
        match self.method {
            Method::Get => HttpRequest::get(self.url.as_str()),
            Method::Post => HttpRequest::post(self.url.as_str()),
        }
    }
}

impl Health {
    fn compile(base: &str, raw: &RawHealth) -> Result<Self> {
        let statuses = raw.status.as_ref();
        Ok(Self {
            route: Route { method: raw.method, url: url(base, "health.path", &raw.path)? },
            statuses: statuses.map(|raw| Statuses::parse("health.status", raw)).transpose()?,
            condition: Condition::optional(
                "health",
                raw.pointer.as_deref(),
                raw.equals.as_ref(),
                raw.matches.as_deref(),
            )?,
        })
    }
}

/// The base without the slash that would double in every URL.
fn base_url(text: &str) -> Result<&str> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(['?', '#']))
    {
        return Err(wrong(
            "base_url",
            "expected http:// or https://, a host and perhaps a path, such as http://127.0.0.1:8000/v1",
        ));
    }
    Ok(text.trim_end_matches('/'))
}

fn url(base: &str, key: &str, path: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    if !path.starts_with('/') || !path.chars().all(fits) {
        return Err(wrong(
            key,
            format_args!(
                "expected a route such as /chat/completions, without spaces or `#`, found `{path}`"
            ),
        ));
    }
    Ok(format!("{base}{path}"))
}
