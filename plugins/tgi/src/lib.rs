//! Text Generation Inference as a plugin: `/generate` and `/generate_stream`, and log-likelihood from the prompt's
//! log-probabilities.
//!
//! The wire format and the calls that a request needs are [`wire::tgi`]'s, because others operate such servers
//! too; here are the configuration and what is this plugin's own: the name of its key.

pub mod config;

use plugin_api::{
    Backend, Completion, Description, Error, Generate, Health, Host, Io, Likelihood, Loglikelihood,
    Message, Result, Rolling, export_plugin,
};
use wire::tgi::Server;

use crate::config::Config;

/// The slot of the server's key.
const API_KEY: &str = "api_key";

/// One TGI server.
#[derive(Debug)]
pub struct Tgi {
    model: Option<String>,
    server: Server,
}

impl Backend for Tgi {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        let config = config.resolved()?;
        let defaults = config.defaults();
        Ok(Self {
            model: config.model,
            server: Server::new(config.base_url, defaults, host, API_KEY),
        })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let completion = self.server.generate(request, io).await.map_err(with_hint)?;
        Ok(Completion { model: self.model.clone(), ..completion })
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        self.server.loglikelihood(request, io).await.map_err(with_hint)
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        self.server.loglikelihood_rolling(request, io).await.map_err(with_hint)
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        self.server.health(io).await.map_err(with_hint)
    }

    async fn describe(&self, io: &Io) -> Result<Description> {
        self.server.describe(io).await.map_err(with_hint)
    }

    async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
        self.server.tokenize(text, io).await.map_err(with_hint)
    }

    async fn render(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        self.server.render(messages, io).await.map_err(with_hint)
    }
}

/// Says where the key comes from when the server refuses it: TGI itself answers with an empty 401.
fn with_hint(mut error: Error) -> Error {
    if error.http_status == Some(401) && error.excerpt.as_deref().is_none_or(str::is_empty) {
        error.message = "the server refused the key: set TGI_API_KEY, and secrets = [\"api_key\"] \
                         in the backend's table"
            .to_owned();
    }
    error
}

export_plugin!(Tgi);

#[cfg(test)]
mod tests {
    use plugin_api::Reply;
    use wire::tgi::failure;

    use super::*;

    #[test]
    fn a_refused_key_names_its_variable() {
        let message = |status| with_hint(failure::of(&Reply::new(status, &[], b""))).message;
        assert!(message(401).contains("TGI_API_KEY"));
        assert!(!message(404).contains("TGI_API_KEY"));
    }
}
