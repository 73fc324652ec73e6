//! A backend of the host: what it is asked becomes a request of the server, and the reply becomes an answer.
//!
//! It opens no socket, keeps no clock, retries nothing and sees no key: `io.send` asks the host, which does all that.
//! `encode` and `decode` are pure, so that golden files can hold them.

mod config;
mod decode;
mod encode;

use plugin_api::{
    Backend, Completion, Generate, Health, Host, HttpRequest, Io, Result, export_plugin,
};

pub use config::Config;

/// The server that a `[[backend]]` of a run file names.
pub struct Server {
    config: Config,
    has_key: bool,
}

impl Backend for Server {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        Ok(Self {
            config,
            has_key: host.has_secret("api_key"),
        })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let call = encode::generate(&self.config, request)?;
        let reply = io.send(self.with_key(call)).await?;
        if !reply.is_success() {
            return Err(decode::failure(&reply));
        }
        let mut completion = decode::completion(&reply)?;
        completion.changed = encode::changed(request);
        Ok(completion)
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        let call = HttpRequest::get(self.config.url("/v1/models"));
        let reply = io.send(self.with_key(call)).await?;
        let mut health = Health::default();
        if reply.is_success() {
            health.ready = true;
        } else {
            health.detail = decode::failure(&reply).to_string();
        }
        Ok(health)
    }
}

impl Server {
    /// Only the host knows the key, and puts it where the slot is named.
    fn with_key<'a>(&self, call: HttpRequest<'a>) -> HttpRequest<'a> {
        if self.has_key {
            call.bearer("api_key")
        } else {
            call
        }
    }
}

export_plugin!(Server);
