//! One real OpenAI-compatible server that answers in the model's place, whichever wire asks: `--upstream URL`.
//!
//! What it says is mapped to the mock's own terms, so that no flavor knows of it. Token log-probabilities stay the
//! mock's.

use std::time::Duration;

use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::{
    exchange::Trouble,
    model::{Ask, Context, End, Prompt, Said},
    settings,
};

/// The server.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    url: String,
    api_key: Option<String>,
    /// As it was given, or the first that the server lists.
    model: OnceCell<String>,
}

/// There is no client for the server.
#[derive(Debug, thiserror::Error)]
#[error("the mock cannot ask {url}: {reason}; expected a URL such as http://127.0.0.1:8000/v1")]
pub struct UpstreamError {
    url: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Message<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<usize>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [std::borrow::Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Debug, Deserialize)]
struct Answered {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    message: Option<Answer>,
    #[serde(default)]
    finish_reason: Option<String>,
    /// vLLM's: the stop text that ended the answer.
    #[serde(default)]
    stop_reason: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

#[derive(Debug, Deserialize)]
struct Models {
    data: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
}

impl Upstream {
    /// A client for a server. Nothing is asked yet.
    ///
    /// # Errors
    /// The URL is none, or the system has no certificates.
    pub(crate) fn new(settings: &settings::Upstream) -> Result<Self, UpstreamError> {
        let url = settings.url.trim_end_matches('/');
        let unusable = |reason: String| UpstreamError { url: settings.url.clone(), reason };
        reqwest::Url::parse(url).map_err(|error| unusable(error.to_string()))?;
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let model = OnceCell::new_with(settings.model.clone());
        Ok(Self { client, url: url.to_owned(), api_key: settings.api_key.clone(), model })
    }

    /// The server's answer. `context` and `prompt_tokens` are the mock's reading of the prompt.
    ///
    /// # Errors
    /// [`Trouble::Upstream`] with what the server said.
    pub(crate) async fn say(
        &self,
        ask: &Ask<'_>,
        context: Context,
        prompt_tokens: usize,
    ) -> Result<Said, Trouble> {
        let model = self.model.get_or_try_init(|| self.first_model()).await?;
        let mut request = Request {
            model,
            prompt: None,
            messages: None,
            max_tokens: ask.max_tokens,
            stop: &ask.stop,
            temperature: ask.temperature,
            top_p: ask.top_p,
            frequency_penalty: ask.frequency_penalty,
            presence_penalty: ask.presence_penalty,
            seed: ask.seed.map(|seed| seed.wrapping_add(ask.choice).cast_signed()),
        };
        let route = match &ask.prompt {
            Prompt::Text(text) => {
                request.prompt = Some(text);
                "completions"
            }
            Prompt::Chat(turns) => {
                let turns = turns.iter();
                let messages =
                    turns.map(|turn| Message { role: &turn.role, content: &turn.content });
                request.messages = Some(messages.collect());
                "chat/completions"
            }
        };
        // A request of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let call = self.client.post(format!("{}/{route}", self.url));
        let call = call.header("content-type", "application/json").body(body);
        let body = self.fetch(call).await?;
        let answered: Answered =
            serde_json::from_slice(&body).map_err(|error| unexpected(&body, &error.to_string()))?;
        said(answered, ask, context, prompt_tokens).ok_or_else(|| unexpected(&body, "no choice"))
    }

    async fn first_model(&self) -> Result<String, Trouble> {
        let body = self.fetch(self.client.get(format!("{}/models", self.url))).await?;
        let models: Models =
            serde_json::from_slice(&body).map_err(|error| unexpected(&body, &error.to_string()))?;
        let first = models.data.into_iter().next();
        first.map(|model| model.id).ok_or_else(|| unexpected(&body, "no model is listed"))
    }

    /// The body of a success.
    async fn fetch(&self, call: reqwest::RequestBuilder) -> Result<Vec<u8>, Trouble> {
        let call = match &self.api_key {
            Some(key) => call.bearer_auth(key),
            None => call,
        };
        let unreachable = |error: reqwest::Error| Trouble::Upstream {
            status: 502,
            message: format!("{} does not answer: {error}", self.url),
        };
        let response = call.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(Trouble::Upstream { status: status.as_u16(), message: excerpt(&body) })
    }
}

fn unexpected(body: &[u8], reason: &str) -> Trouble {
    let message = format!("unexpected reply ({reason}): {}", excerpt(body));
    Trouble::Upstream { status: 502, message }
}

/// The beginning of a reply.
fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

/// The server's answer in the mock's terms. Most servers do not say which stop text ended it, or whether one did; then
/// it is the model's own end.
fn said(answered: Answered, ask: &Ask<'_>, context: Context, prompt_tokens: usize) -> Option<Said> {
    let choice = answered.choices.into_iter().next()?;
    let text =
        choice.text.or(choice.message.and_then(|message| message.content)).unwrap_or_default();
    let named = choice.stop_reason.as_ref().and_then(serde_json::Value::as_str);
    let end = match choice.finish_reason.as_deref() {
        Some("length") => End::Length,
        _ => match named.and_then(|named| ask.stop.iter().position(|stop| stop == named)) {
            Some(number) => End::Stop(number),
            None => End::Eos,
        },
    };
    let stop = match end {
        End::Stop(number) => ask.stop.get(number).map_or("", |stop| stop),
        End::Eos | End::Length => "",
    };
    let mut said = Said::of_text(text, stop, end, context, prompt_tokens);
    if let Some(usage) = answered.usage {
        said.prompt_tokens = usage.prompt_tokens;
        said.completion_tokens = usage.completion_tokens;
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<(String, End, usize, usize)> {
        let prompt = Prompt::Text("Q".into());
        let ask = Ask { stop: vec!["\n".into(), "END".into()], ..Ask::new(prompt) };
        let said = said(serde_json::from_str(json).unwrap(), &ask, Context::new(), 2)?;
        Some((said.text().to_owned(), said.end, said.prompt_tokens, said.completion_tokens))
    }

    #[test]
    fn an_answer_is_read_in_either_form() {
        let text = r#"{"choices":[{"text":" A","finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
        assert_eq!(read(text), Some((" A".to_owned(), End::Length, 9, 4)));
        let chat = r#"{"choices":[{"message":{"role":"assistant","content":"B"},"finish_reason":"stop"}]}"#;
        assert_eq!(read(chat), Some(("B".to_owned(), End::Eos, 2, 2)));
        let stopped = r#"{"choices":[{"text":"B","finish_reason":"stop","stop_reason":"END"}]}"#;
        assert_eq!(read(stopped), Some(("B".to_owned(), End::Stop(1), 2, 1)));
        assert_eq!(read(r#"{"choices":[{"message":{"content":null}}]}"#).unwrap().0, "");
        assert_eq!(read(r#"{"choices":[]}"#), None);
    }
}
