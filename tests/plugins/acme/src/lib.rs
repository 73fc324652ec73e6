use plugin_api::*;

#[derive(Deserialize, JsonSchema)]
struct Acme {
    base_url: String,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    ended_by: String,
    tokens: (Option<u64>, Option<u64>),
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
        let answer: Answer = reply.json()?;
        let finish_reason = answer.ended_by.replace("limit", "length");
        let completion = Completion::new(answer.text, finish_reason.as_str());
        Ok(completion.with_usage(answer.tokens.0, answer.tokens.1))
    }
}

export_plugin!(Acme);
