//! An OpenAI-like chat backend with typed, borrowed codecs: what the round trip is measured with.
//!
//! With `"empty": true` it answers at once with nothing, so that the crossing can be measured alone.

mod codec;

use plugin_api::*;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// Where the requests go.
    url: String,
    /// The model's name.
    model: String,
    /// Answer at once, with no choice at all.
    empty: bool,
}

struct Chat(Config);

impl Backend for Chat {
    type Config = Config;

    fn open(config: Config, _: Host) -> Result<Self> {
        Ok(Self(config))
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        if self.0.empty {
            return Ok(Completion::default());
        }
        let reply = io.send(codec::encode(&self.0.url, &self.0.model, request)?).await?;
        codec::decode(&reply)
    }
}

export_plugin!(Chat);

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_that_of_the_configuration() {
        plugin_api::testkit::check_schema::<super::Chat>(env!("CARGO_MANIFEST_DIR")).unwrap();
    }
}
