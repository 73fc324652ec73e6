// The backend of the guide's examples: what `first-plugin.md` builds, in short.
use plugin_api::*;

/// What it is told of its `[[backend]]` in the run file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub base_url: String,
}

pub struct Echo {
    base_url: String,
    key: bool,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
}

impl Backend for Echo {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        Ok(Self { base_url: config.base_url, key: host.has_secret("api_key") })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let body = json!({ "text": request.prompt.as_text()?, "limit": request.max_tokens });
        let mut call = HttpRequest::post(format!("{}/echo", self.base_url)).json(&body)?;
        if self.key {
            call = call.bearer("api_key");
        }
        let reply = io.send(call).await?;
        if !reply.is_success() {
            return Err(reply.error());
        }
        let answer: Answer = reply.json()?;
        Ok(Completion::new(answer.text, FinishReason::Stop))
    }
}
