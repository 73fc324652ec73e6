//! An Inference Endpoint as a server of text: where it is, what it speaks, and requests to it. TGI's routes and chat
//! completions have their codecs elsewhere; the endpoint's life is [`crate::life`]'s business.

use std::sync::OnceLock;

use plugin_api::{
    Completion, Description, Error, ErrorKind, Generate, Health, Held, Host, HttpRequest, Io,
    Likelihood, Loglikelihood, Message, Result, Rolling,
};
use wire::tgi::Server;

use crate::{
    call::{Caller, of_endpoint},
    life::Life,
    management::State,
    probe::{Probe, Speaks},
    settings::{self, Managed, Place},
    wait::{Patience, Readiness, health},
};

/// One Inference Endpoint.
#[derive(Debug)]
pub struct Endpoint {
    settings: settings::Endpoint,
    host: Host,
    /// For the endpoint.
    caller: Caller,
    /// For the management API, which the run file's headers are not meant for.
    api: Caller,
    /// What was found out of it. It holds for all sessions.
    live: OnceLock<Live>,
}

/// An endpoint that has been asked what it is.
#[derive(Debug)]
struct Live {
    url: String,
    speaks: Speaks,
}

impl Endpoint {
    /// The endpoint that is configured.
    pub fn new(host: Host, settings: settings::Endpoint) -> Self {
        let caller = Caller::new(&host, settings.headers.clone());
        let api = Caller::new(&host, Vec::new());
        Self { settings, host, caller, api, live: OnceLock::new() }
    }

    /// Brings the endpoint up, and finds out what it speaks.
    ///
    /// # Errors
    /// As for [`Life::bring_up`]; one that is at a URL of its own must answer in time.
    pub async fn prepare(&self, held: &[Held], io: &Io) -> Result<()> {
        let url = match &self.settings.place {
            Place::Url(url) => {
                self.await_health(url, io).await?;
                url.clone()
            }
            Place::Managed(managed) => self.life(managed).bring_up(held, io).await?,
        };
        self.asked(url, io).await.map(drop)
    }

    /// Frees what is noted.
    ///
    /// # Errors
    /// As for [`Life::release`].
    pub async fn release(&self, held: &[Held], io: &Io) -> Result<()> {
        match &self.settings.place {
            Place::Managed(managed) => self.life(managed).release(held, io).await,
            Place::Url(_) if held.is_empty() => Ok(()),
            Place::Url(_) => Err(Error::new(
                ErrorKind::InvalidRequest,
                "endpoints are noted as held, and the backend's table has no `name`, so that they cannot be \
                 freed: put it back",
            )),
        }
    }

    /// Generates.
    ///
    /// # Errors
    /// As the codec has them; a proxy without a replica is `loading`.
    pub async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let completion = match &self.live(io).await?.speaks {
            Speaks::Text(server) => server.generate(request, io).await.map(|completion| {
                let model = self.settings.model.clone();
                Completion { model: completion.model.or(model), ..completion }
            }),
            Speaks::Chat(server, _) => server.generate(request, io).await,
        };
        completion.map_err(|error| self.refined(error))
    }

    /// Scores continuations, where the engine is TGI.
    ///
    /// # Errors
    /// `unsupported` for another engine; else as [`Endpoint::generate`].
    pub async fn loglikelihood(
        &self,
        request: &Loglikelihood<'_>,
        io: &Io,
    ) -> Result<Vec<Likelihood>> {
        let scores = self.text_server("log-likelihood", io).await?.loglikelihood(request, io).await;
        scores.map_err(|error| self.refined(error))
    }

    /// Scores a text, where the engine is TGI.
    ///
    /// # Errors
    /// As for [`Endpoint::loglikelihood`].
    pub async fn loglikelihood_rolling(
        &self,
        request: &Rolling<'_>,
        io: &Io,
    ) -> Result<Likelihood> {
        let server = self.text_server("rolling log-likelihood", io).await?;
        server.loglikelihood_rolling(request, io).await.map_err(|error| self.refined(error))
    }

    /// Token ids, where the engine is TGI.
    ///
    /// # Errors
    /// As for [`Endpoint::loglikelihood`].
    pub async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
        let server = self.text_server("tokenize", io).await?;
        server.tokenize(text, io).await.map_err(|error| self.refined(error))
    }

    /// Messages as text, where the engine is TGI.
    ///
    /// # Errors
    /// As for [`Endpoint::loglikelihood`].
    pub async fn render(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        let server = self.text_server("render", io).await?;
        server.render(messages, io).await.map_err(|error| self.refined(error))
    }

    /// Whether the endpoint is ready. One that is paused or scaled to zero is not, and stays so: only a run starts it.
    ///
    /// # Errors
    /// A refused token, or an endpoint without the route that is configured.
    pub async fn health(&self, io: &Io) -> Result<Health> {
        let not_ready = |detail: String| Health { ready: false, detail };
        let (url, its_route) = match (self.live.get(), &self.settings.place) {
            (Some(live), _) => (live.url.clone(), None),
            (None, Place::Url(url)) => (url.clone(), None),
            (None, Place::Managed(managed)) => {
                let life = self.life(managed);
                let namespace = life.namespace(io).await?;
                match life.look(&namespace, io).await? {
                    None => {
                        let name = &managed.name;
                        return Ok(not_ready(format!(
                            "there is no endpoint `{namespace}/{name}` yet"
                        )));
                    }
                    Some(described) => match (described.state, described.url) {
                        (State::Running, Some(url)) => (url, described.health_route),
                        _ => return Ok(not_ready(described.said)),
                    },
                }
            }
        };
        let route = self.settings.health_route.as_deref().or(its_route.as_deref());
        match health(&self.caller, &url, route.unwrap_or("/health"), io).await? {
            Readiness::Ready => Ok(Health { ready: true, detail: String::new() }),
            Readiness::NotYet(detail) => Ok(not_ready(detail)),
            // An engine without such a route is up if it answers; one that was promised must be there.
            Readiness::NoRoute(_) if route.is_none() => {
                Ok(Health { ready: true, detail: "it answers, but has no /health".to_owned() })
            }
            Readiness::NoRoute(error) => Err(error),
        }
    }

    /// What is behind the endpoint.
    ///
    /// # Errors
    /// As for [`Endpoint::generate`].
    pub async fn describe(&self, io: &Io) -> Result<Description> {
        match &self.live(io).await?.speaks {
            Speaks::Text(server) => server.describe(io).await.map_err(|error| self.refined(error)),
            Speaks::Chat(_, description) => Ok(description.clone()),
        }
    }

    fn life<'a>(&'a self, managed: &'a Managed) -> Life<'a> {
        Life {
            managed,
            api: &self.api,
            caller: &self.caller,
            host: &self.host,
            health_route: self.settings.health_route.as_deref(),
            poll_interval_s: self.settings.poll_interval_s,
            wait_timeout_s: self.settings.wait_timeout_s,
        }
    }

    /// Waits until the endpoint at a URL of its own answers. A server that is not there at all is not waited for.
    async fn await_health(&self, url: &str, io: &Io) -> Result<()> {
        let mut patience =
            Patience::new(io, self.settings.wait_timeout_s, self.settings.poll_interval_s);
        let route = self.settings.health_route.as_deref();
        loop {
            let call =
                self.caller.dress(HttpRequest::get(format!("{url}{}", route.unwrap_or("/health"))));
            let reply = io.send(call).await?;
            match reply.status {
                502..=504 => {
                    let last = format!("it answers {}", reply.status);
                    if !patience.wait(io).await {
                        return Err(patience.over(&last));
                    }
                }
                // An engine without such a route answers too; what it is will be asked next.
                404 | 405 if route.is_none() => return Ok(()),
                200..=299 => return Ok(()),
                _ => return Err(self.refined(wire::openai::failure::of(&reply))),
            }
        }
    }

    /// The endpoint, found and asked. A session that comes without a preparation before it starts nothing.
    async fn live(&self, io: &Io) -> Result<&Live> {
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        let url = match &self.settings.place {
            Place::Url(url) => url.clone(),
            Place::Managed(managed) => {
                let life = self.life(managed);
                let namespace = life.namespace(io).await?;
                let described = life.look(&namespace, io).await?.ok_or_else(|| {
                    let name = &managed.name;
                    Error::new(
                        ErrorKind::InvalidRequest,
                        format!("there is no endpoint `{namespace}/{name}`"),
                    )
                })?;
                described.url.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Loading,
                        format!("the endpoint has no address yet ({})", described.said),
                    )
                })?
            }
        };
        self.asked(url, io).await
    }

    async fn asked(&self, url: String, io: &Io) -> Result<&Live> {
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        let probe =
            Probe { url: &url, caller: &self.caller, host: &self.host, settings: &self.settings };
        let speaks = probe.ask(io).await.map_err(|error| self.refined(error))?;
        Ok(self.live.get_or_init(|| Live { url, speaks }))
    }

    async fn text_server(&self, what: &str, io: &Io) -> Result<&Server> {
        match &self.live(io).await?.speaks {
            Speaks::Text(server) => Ok(server),
            Speaks::Chat(..) => Err(Error::unsupported(&format!(
                "{what} with an endpoint that speaks chat completions only: TGI's engine can do it"
            ))),
        }
    }

    fn refined(&self, error: Error) -> Error {
        of_endpoint(error, self.settings.poll_interval_s)
    }
}
