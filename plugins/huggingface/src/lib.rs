//! Hugging Face as a plugin: the router of Inference Providers, serverless text generation, and Inference Endpoints
//! with their life.
//!
//! Which service is one key of the configuration. Here each request goes to it; what the services speak is in
//! [`chat`], [`serverless`] and [`endpoint`], and how an endpoint is brought up and freed in [`life`].

pub mod address;
pub mod call;
pub mod chat;
pub mod config;
pub mod endpoint;
mod free;
mod keys;
pub mod life;
pub mod management;
mod plan;
pub mod probe;
pub mod resolve;
pub mod serverless;
pub mod settings;
pub mod wait;

use plugin_api::{
    Backend, Completion, Description, Error, Generate, Health, Held, Host, HttpRequest, Io, Level,
    Likelihood, Loglikelihood, Message, Result, Rolling, capability::Capability, export_plugin,
};

use crate::{
    call::{Caller, with_way_out},
    chat::ChatServer,
    config::{Config, Mode},
    endpoint::Endpoint,
    serverless::Serverless,
    settings::Settings,
};

/// One configured service.
#[derive(Debug)]
pub struct HuggingFace {
    host: Host,
    service: Service,
}

#[derive(Debug)]
enum Service {
    Router {
        server: Box<ChatServer>,
        caller: Caller,
        /// Where the router lists its models.
        models: String,
        /// What to warn of.
        unfixed: Option<String>,
    },
    Serverless(Box<Serverless>),
    Endpoint(Box<Endpoint>),
}

impl Backend for HuggingFace {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        let service = match config.resolved()? {
            Settings::Router(router) => {
                let caller = Caller::new(&host, router.headers.clone());
                let unfixed = router.unfixed();
                let models = format!("{}/models", router.base);
                let server =
                    ChatServer::new(caller.clone(), &router.base, router.model, router.defaults);
                Service::Router { server: Box::new(server), caller, models, unfixed }
            }
            Settings::Serverless(settings) => {
                Service::Serverless(Box::new(Serverless::new(&host, settings)))
            }
            Settings::Endpoint(settings) => {
                Service::Endpoint(Box::new(Endpoint::new(host.clone(), *settings)))
            }
        };
        Ok(Self { host, service })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        match &self.service {
            Service::Router { server, .. } => {
                server.generate(request, io).await.map_err(with_way_out)
            }
            Service::Serverless(serverless) => serverless.generate(request, io).await,
            Service::Endpoint(endpoint) => endpoint.generate(request, io).await,
        }
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        self.endpoint("log-likelihood")?.loglikelihood(request, io).await
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        self.endpoint("rolling log-likelihood")?.loglikelihood_rolling(request, io).await
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        match &self.service {
            Service::Router { caller, models, .. } => {
                let reply = io.send(caller.dress(HttpRequest::get(models.as_str()))).await?;
                if reply.is_success() {
                    return Ok(Health { ready: true, detail: String::new() });
                }
                let error = with_way_out(wire::openai::failure::of(&reply));
                match reply.status {
                    502..=504 => Ok(Health { ready: false, detail: error.to_string() }),
                    _ => Err(error),
                }
            }
            Service::Serverless(serverless) => serverless.health(io).await,
            Service::Endpoint(endpoint) => endpoint.health(io).await,
        }
    }

    async fn prepare(&self, held: &[Held], io: &Io) -> Result<()> {
        match &self.service {
            Service::Router { unfixed, .. } => {
                if let Some(unfixed) = unfixed {
                    self.host.log(Level::Warn, unfixed);
                }
                Ok(())
            }
            Service::Serverless(_) => Ok(()),
            Service::Endpoint(endpoint) => endpoint.prepare(held, io).await,
        }
    }

    async fn release(&self, held: &[Held], io: &Io) -> Result<()> {
        match &self.service {
            Service::Endpoint(endpoint) => endpoint.release(held, io).await,
            Service::Router { .. } | Service::Serverless(_) => Ok(()),
        }
    }

    async fn describe(&self, io: &Io) -> Result<Description> {
        let plain = |model: &str, engine: &str| Description {
            model: Some(model.to_owned()),
            engine: Some(engine.to_owned()),
            // Neither scores a prompt; an endpoint may.
            lacks: SCORING.to_vec(),
            ..Description::default()
        };
        match &self.service {
            // The router does not tell which provider's engine answers.
            Service::Router { server, .. } => Ok(plain(server.model(), "inference-providers")),
            Service::Serverless(serverless) => {
                let mut description = plain(serverless.model(), "hf-inference");
                description.lacks.push(Capability::Chat);
                Ok(description)
            }
            Service::Endpoint(endpoint) => endpoint.describe(io).await,
        }
    }

    async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
        self.endpoint("tokenize")?.tokenize(text, io).await
    }

    async fn render(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        self.endpoint("render")?.render(messages, io).await
    }
}

impl HuggingFace {
    /// The endpoint, which alone may be able to do this.
    fn endpoint(&self, what: &str) -> Result<&Endpoint> {
        let mode = match &self.service {
            Service::Endpoint(endpoint) => return Ok(endpoint),
            Service::Router { .. } => Mode::Router,
            Service::Serverless(_) => Mode::Serverless,
        };
        Err(Error::unsupported(&format!(
            "{what} with mode = \"{}\": it needs the log-probabilities, or the tokens, of a prompt, which an \
             Inference Endpoint with TGI gives",
            mode.as_str()
        )))
    }
}

/// What only text generation over a server's own engine can do.
pub(crate) const SCORING: [Capability; 4] = [
    Capability::Loglikelihood,
    Capability::LoglikelihoodRolling,
    Capability::Tokenize,
    Capability::Render,
];

export_plugin!(HuggingFace);
