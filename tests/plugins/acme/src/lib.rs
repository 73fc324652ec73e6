use plugin_api::*;

#[derive(Deserialize, JsonSchema)]
struct Acme {
    base_url: String,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    ended_by: String,
    tokens: (u64, u64),
}

impl Backend for Acme {
    type Config = Self;

    fn open(config: Self, _host: Host) -> Result<Self> {
        Ok(config)
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let body = json!({ "prompt": request.prompt.as_text()?, "limit": request.max_tokens });
        let call = HttpRequest::post(format!("{}/complete", self.base_url)).bearer("api_key");
        let reply = io.send(call.json(&body)?).await?;
        match reply.status {
            200 => {}
            402 => return Err(Error::new(ErrorKind::Unauthorized, "the account is empty")),
            _ => return Err(reply.error()),
        }
        let Answer { text, ended_by, tokens } = reply.json()?;
        let finish_reason = if ended_by == "limit" { "length" } else { "stop" };
        Ok(Completion::new(text, finish_reason).with_usage(Some(tokens.0), Some(tokens.1)))
    }
}

export_plugin!(Acme);
