//! The requests of a `start` event as they travel: texts are spans of the event's body.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Decimal, Span, Str};

/// One item of a session.
///
/// An author gets it as [`crate::Request`], with the texts in their places; so it travels:
///
/// ```
/// use plugin_api::message::{
///     EmbedHead, GenerateHead, HeldHead, LoglikelihoodHead, MessageHead, PartHead, PromptHead, RenderHead, RequestHead,
///     RollingHead, Span, TokenizeHead, read,
/// };
///
/// let body = b"Is it green? yes no";
/// let request: RequestHead<'_> =
///     read(br#"{"loglikelihood":{"prompt":{"text":[0,12]},"continuations":[[12,4],[16,3]]}}"#)?;
/// let RequestHead::Loglikelihood(LoglikelihoodHead { prompt: PromptHead::Text(prompt), continuations, .. }) = request
/// else {
///     panic!("another request");
/// };
/// assert_eq!(prompt.text(body), Ok("Is it green?"));
/// assert_eq!(continuations[1].text(body), Ok(" no"));
///
/// let request: RequestHead<'_> =
///     read(br#"{"generate":{"prompt":{"messages":[{"role":"user","content":[{"text":[0,12]}]}]}}}"#)?;
/// let RequestHead::Generate(GenerateHead { prompt: PromptHead::Messages(messages), n: 1, .. }) = request else {
///     panic!("another request");
/// };
/// let MessageHead { role, content } = &messages[0];
/// assert!(matches!((&**role, content.as_slice()), ("user", [PartHead::Text(Span(0, 12))])));
///
/// let text = Span(0, 12);
/// let others = [
///     RequestHead::LoglikelihoodRolling(RollingHead { text }),
///     RequestHead::Tokenize(TokenizeHead { text }),
///     RequestHead::Embed(EmbedHead { texts: vec![text] }),
///     RequestHead::Render(RenderHead { messages }),
///     RequestHead::Prepare(HeldHead { held: Vec::new() }),
/// ];
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestHead<'a> {
    /// Generate text.
    #[serde(borrow)]
    Generate(GenerateHead<'a>),
    /// Score continuations of one context.
    #[serde(borrow)]
    Loglikelihood(LoglikelihoodHead<'a>),
    /// Score a whole text.
    LoglikelihoodRolling(RollingHead),
    /// Is the server ready?
    Health {},
    /// Called once before the first sample of a run.
    Prepare(HeldHead),
    /// Called once after the last.
    Release(HeldHead),
    /// What is behind the backend?
    Describe {},
    /// Token ids of a text.
    Tokenize(TokenizeHead),
    /// Chat messages as the text that the model sees.
    #[serde(borrow)]
    Render(RenderHead<'a>),
    /// Vectors of texts.
    Embed(EmbedHead),
}

/// `generate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GenerateHead<'a> {
    /// What to continue or answer.
    #[serde(borrow)]
    pub prompt: PromptHead<'a>,
    /// Number of choices wanted.
    #[serde(default = "one")]
    pub n: u32,
    /// Most tokens a choice may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Texts that end a choice.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<Str<'a>>,
    /// Seed of the sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Decimal>,
    /// Log-probabilities of the generated tokens, with this many alternatives each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Whether the host wants `delta`s.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stream: bool,
    /// Parameters of the vendor's own, passed through.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// `loglikelihood`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoglikelihoodHead<'a> {
    /// The shared context.
    #[serde(borrow)]
    pub prompt: PromptHead<'a>,
    /// What is scored after it, each on its own.
    pub continuations: Vec<Span>,
    /// Whether log-probabilities token by token are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub token_logprobs: bool,
}

/// `loglikelihood_rolling`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RollingHead {
    /// The text whose every token is scored once.
    pub text: Span,
}

/// `tokenize`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TokenizeHead {
    /// The text.
    pub text: Span,
}

/// `render`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenderHead<'a> {
    /// The conversation.
    #[serde(borrow)]
    pub messages: Vec<MessageHead<'a>>,
}

/// `prepare` and `release`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HeldHead {
    /// Outside resources that were noted by `hold` and not freed since, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
}

/// An outside resource that a backend holds: something that costs until it is freed.
///
/// ```
/// use plugin_api::{Held, HttpRequest, Io, Result, json};
///
/// /// Rents a machine, so that whoever comes later can give it back.
/// async fn rent(io: &Io) -> Result<()> {
///     io.hold("machine", &json!({ "name": "eval-7" })).await?;
///     io.send(HttpRequest::post("https://api.acme.test/machines/eval-7")).await.map(drop)
/// }
///
/// async fn give_back(held: &[Held], io: &Io) -> Result<()> {
///     for machine in held {
///         let name = machine.note["name"].as_str().unwrap_or_default();
///         io.send(HttpRequest::delete(format!("https://api.acme.test/machines/{name}"))).await?;
///         io.free(&machine.name).await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name, by which `free` names it.
    pub name: String,
    /// What the plugin noted: enough to free it in another process.
    #[serde(default)]
    pub note: Value,
}

/// `embed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmbedHead {
    /// The texts, one vector each.
    pub texts: Vec<Span>,
}

/// Text, or a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptHead<'a> {
    /// Plain text.
    Text(Span),
    /// Chat messages; a last message of the assistant is a prefix that the answer continues.
    #[serde(borrow)]
    Messages(Vec<MessageHead<'a>>),
}

/// One chat message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageHead<'a> {
    /// `system`, `user`, `assistant` or a vendor's own.
    #[serde(borrow)]
    pub role: Str<'a>,
    /// What it says, in order.
    #[serde(borrow)]
    pub content: Vec<PartHead<'a>>,
}

/// A part of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartHead<'a> {
    /// Text.
    Text(Span),
    /// An image, as raw bytes in the body.
    Image {
        /// IANA media type, `image/png`, say.
        #[serde(borrow)]
        media_type: Str<'a>,
        /// The bytes.
        data: Span,
    },
}

const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}
