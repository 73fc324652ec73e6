//! The requests as an author meets them: texts resolved, borrowed from the message that brought them.
//!
//! The host uses the same types to write a request ([`Request::put`]).

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::message::{
    BadSpan, Decimal, EmbedHead, GenerateHead, Held, HeldHead, LoglikelihoodHead, MessageHead,
    PartHead, PromptHead, RenderHead, RequestHead, RollingHead, Span, Str, TokenizeHead,
};

type Resolved<T> = std::result::Result<T, BadSpan>;

/// One item of a session.
///
/// ```
/// use plugin_api::{Generate, Prompt, Request};
///
/// let request = Request::Generate(Generate::new(Prompt::Text("Hello")));
/// let mut body = Vec::new();
/// let head = request.put(&mut body);
/// assert_eq!(Request::resolve(head, &body), Ok(request.clone()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// Generate text.
    Generate(Generate<'a>),
    /// Score continuations of one context.
    Loglikelihood(Loglikelihood<'a>),
    /// Score a whole text.
    Rolling(Rolling<'a>),
    /// Is the server ready?
    Health,
    /// Comes once before the first sample.
    Prepare(Vec<Held>),
    /// Comes once after the last.
    Release(Vec<Held>),
    /// What is behind the backend?
    Describe,
    /// Token ids of a text.
    Tokenize(&'a str),
    /// Chat messages as the text that the model sees.
    Render(Vec<Message<'a>>),
    /// Vectors of texts.
    Embed(Vec<&'a str>),
}

/// Generate `n` choices for a prompt.
///
/// ```
/// use plugin_api::{Generate, Prompt};
///
/// let request = Generate {
///     max_tokens: Some(16),
///     temperature: Some(0.0),
///     stop: vec!["\n\n".into()],
///     ..Generate::new(Prompt::Text("Q: 2 + 2?\nA:"))
/// };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Generate<'a> {
    /// What to continue or answer.
    pub prompt: Prompt<'a>,
    /// Number of choices wanted.
    pub n: u32,
    /// Most tokens a choice may have.
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens.
    pub top_k: Option<u32>,
    /// Texts that end a choice. The host cuts there too.
    pub stop: Vec<Cow<'a, str>>,
    /// Seed of the sampling.
    pub seed: Option<u64>,
    /// Log-probabilities of the generated tokens, with this many alternatives each.
    pub logprobs: Option<u32>,
    /// Whether the host wants `delta`s.
    pub stream: bool,
    /// Parameters of the vendor's own, passed through.
    pub extra: Map<String, Value>,
}

impl<'a> Generate<'a> {
    /// One choice for this prompt, everything else left to the backend.
    ///
    /// ```
    /// use plugin_api::{Generate, Prompt};
    ///
    /// let request = Generate { max_tokens: Some(16), ..Generate::new(Prompt::Text("Hello")) };
    /// assert_eq!((request.n, request.temperature), (1, None));
    /// ```
    pub fn new(prompt: Prompt<'a>) -> Self {
        Self {
            prompt,
            n: 1,
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            stop: Vec::new(),
            seed: None,
            logprobs: None,
            stream: false,
            extra: Map::new(),
        }
    }
}

/// Score each continuation on its own after one shared context.
///
/// ```
/// use plugin_api::{Loglikelihood, Prompt};
///
/// let request = Loglikelihood {
///     prompt: Prompt::Text("2 + 2 ="),
///     continuations: vec![" 4", " 5"],
///     token_logprobs: false,
/// };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Loglikelihood<'a> {
    /// The shared context.
    pub prompt: Prompt<'a>,
    /// The continuations, in the order of the answer.
    pub continuations: Vec<&'a str>,
    /// Whether log-probabilities token by token are wanted.
    pub token_logprobs: bool,
}

/// Score every token of a text once.
///
/// ```
/// let rolling = plugin_api::Rolling { text: "All of it." };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling<'a> {
    /// The text.
    pub text: &'a str,
}

/// Text, or a conversation.
///
/// ```
/// use plugin_api::{Message, Prompt};
///
/// assert_eq!(Prompt::Text("Hello").as_text()?, "Hello");
/// let chat = Prompt::Messages(vec![Message::text("user", "Hello")]);
/// assert!(chat.as_text().is_err());
/// # Ok::<(), plugin_api::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt<'a> {
    /// Plain text.
    Text(&'a str),
    /// Chat messages; a last message of the assistant is a prefix that the answer continues.
    Messages(Vec<Message<'a>>),
}

/// One chat message.
///
/// ```
/// use plugin_api::{Message, Part};
///
/// let content = vec![Part::Text("Hello, "), Part::Text("you")];
/// let message = Message { role: "user".into(), content };
/// assert_eq!(message.as_text().as_deref(), Some("Hello, you"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant` or a vendor's own.
    pub role: Cow<'a, str>,
    /// What it says, in order.
    pub content: Vec<Part<'a>>,
}

/// A part of a message.
///
/// ```
/// use plugin_api::{Message, Part};
///
/// let image = Part::Image { media_type: "image/png".into(), data: b"\x89PNG" };
/// let message = Message { role: "user".into(), content: vec![image] };
/// assert_eq!(message.as_text(), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// Text.
    Text(&'a str),
    /// An image as raw bytes.
    Image {
        /// IANA media type, `image/png`, say.
        media_type: Cow<'a, str>,
        /// The bytes.
        data: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// A message of one text.
    pub fn text(role: &'a str, text: &'a str) -> Self {
        Self { role: Cow::Borrowed(role), content: vec![Part::Text(text)] }
    }

    /// All text parts joined; none if the message holds anything but text.
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        match self.content.as_slice() {
            [Part::Text(text)] => Some(Cow::Borrowed(text)),
            parts => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => Some(*text),
                    Part::Image { .. } => None,
                })
                .collect::<Option<String>>()
                .map(Cow::Owned),
        }
    }
}

impl<'a> Request<'a> {
    /// Resolves a head against the body it came with.
    ///
    /// # Errors
    /// A span leaves the body, or is not UTF-8 where text is meant.
    pub fn resolve(head: RequestHead<'a>, body: &'a [u8]) -> Resolved<Self> {
        Ok(match head {
            RequestHead::Generate(head) => Self::Generate(Generate {
                prompt: Prompt::resolve(head.prompt, body)?,
                n: head.n,
                max_tokens: head.max_tokens,
                temperature: head.temperature,
                top_p: head.top_p,
                top_k: head.top_k,
                stop: head.stop.into_iter().map(|stop| stop.0).collect(),
                seed: head.seed.map(|seed| seed.0),
                logprobs: head.logprobs,
                stream: head.stream,
                extra: head.extra,
            }),
            RequestHead::Loglikelihood(head) => Self::Loglikelihood(Loglikelihood {
                prompt: Prompt::resolve(head.prompt, body)?,
                continuations: texts(&head.continuations, body)?,
                token_logprobs: head.token_logprobs,
            }),
            RequestHead::LoglikelihoodRolling(head) => {
                Self::Rolling(Rolling { text: head.text.text(body)? })
            }
            RequestHead::Health {} => Self::Health,
            RequestHead::Prepare(head) => Self::Prepare(head.held),
            RequestHead::Release(head) => Self::Release(head.held),
            RequestHead::Describe {} => Self::Describe,
            RequestHead::Tokenize(head) => Self::Tokenize(head.text.text(body)?),
            RequestHead::Render(head) => Self::Render(messages(head.messages, body)?),
            RequestHead::Embed(head) => Self::Embed(texts(&head.texts, body)?),
        })
    }

    /// Writes the request's texts into `body` and returns its head.
    pub fn put<'h>(&'h self, body: &mut Vec<u8>) -> RequestHead<'h> {
        match self {
            Self::Generate(generate) => RequestHead::Generate(GenerateHead {
                prompt: generate.prompt.put(body),
                n: generate.n,
                max_tokens: generate.max_tokens,
                temperature: generate.temperature,
                top_p: generate.top_p,
                top_k: generate.top_k,
                stop: generate.stop.iter().map(|stop| Str::from(&**stop)).collect(),
                seed: generate.seed.map(Decimal),
                logprobs: generate.logprobs,
                stream: generate.stream,
                extra: generate.extra.clone(),
            }),
            Self::Loglikelihood(request) => RequestHead::Loglikelihood(LoglikelihoodHead {
                prompt: request.prompt.put(body),
                continuations: spans(&request.continuations, body),
                token_logprobs: request.token_logprobs,
            }),
            Self::Rolling(rolling) => RequestHead::LoglikelihoodRolling(RollingHead {
                text: Span::put(body, rolling.text.as_bytes()),
            }),
            Self::Health => RequestHead::Health {},
            Self::Prepare(held) => RequestHead::Prepare(HeldHead { held: held.clone() }),
            Self::Release(held) => RequestHead::Release(HeldHead { held: held.clone() }),
            Self::Describe => RequestHead::Describe {},
            Self::Tokenize(text) => {
                RequestHead::Tokenize(TokenizeHead { text: Span::put(body, text.as_bytes()) })
            }
            Self::Render(messages) => {
                RequestHead::Render(RenderHead { messages: put_messages(messages, body) })
            }
            Self::Embed(texts) => RequestHead::Embed(EmbedHead { texts: spans(texts, body) }),
        }
    }
}

impl<'a> Prompt<'a> {
    /// The plain text.
    ///
    /// # Errors
    /// `unsupported` if the prompt is a conversation.
    pub fn as_text(&self) -> Result<&'a str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Messages(_) => Err(Error::unsupported("chat messages")),
        }
    }

    fn resolve(head: PromptHead<'a>, body: &'a [u8]) -> Resolved<Self> {
        Ok(match head {
            PromptHead::Text(span) => Self::Text(span.text(body)?),
            PromptHead::Messages(heads) => Self::Messages(messages(heads, body)?),
        })
    }

    fn put<'h>(&'h self, body: &mut Vec<u8>) -> PromptHead<'h> {
        match self {
            Self::Text(text) => PromptHead::Text(Span::put(body, text.as_bytes())),
            Self::Messages(messages) => PromptHead::Messages(put_messages(messages, body)),
        }
    }
}

fn messages<'a>(heads: Vec<MessageHead<'a>>, body: &'a [u8]) -> Resolved<Vec<Message<'a>>> {
    heads
        .into_iter()
        .map(|head| {
            let content = head
                .content
                .into_iter()
                .map(|part| part_of(part, body))
                .collect::<Resolved<_>>()?;
            Ok(Message { role: head.role.0, content })
        })
        .collect()
}

fn part_of<'a>(head: PartHead<'a>, body: &'a [u8]) -> Resolved<Part<'a>> {
    Ok(match head {
        PartHead::Text(span) => Part::Text(span.text(body)?),
        PartHead::Image { media_type, data } => {
            Part::Image { media_type: media_type.0, data: data.bytes(body)? }
        }
    })
}

fn put_messages<'h>(messages: &'h [Message<'_>], body: &mut Vec<u8>) -> Vec<MessageHead<'h>> {
    messages
        .iter()
        .map(|message| MessageHead {
            role: Str::from(&*message.role),
            content: message
                .content
                .iter()
                .map(|part| match part {
                    Part::Text(text) => PartHead::Text(Span::put(body, text.as_bytes())),
                    Part::Image { media_type, data } => PartHead::Image {
                        media_type: Str::from(&**media_type),
                        data: Span::put(body, data),
                    },
                })
                .collect(),
        })
        .collect()
}

fn texts<'a>(spans: &[Span], body: &'a [u8]) -> Resolved<Vec<&'a str>> {
    spans.iter().map(|span| span.text(body)).collect()
}

fn spans(texts: &[&str], body: &mut Vec<u8>) -> Vec<Span> {
    texts.iter().map(|text| Span::put(body, text.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(request: &Request<'_>) {
        let mut body = Vec::new();
        let head = serde_json::to_string(&request.put(&mut body)).unwrap();
        let parsed: RequestHead<'_> = serde_json::from_str(&head).unwrap();
        assert_eq!(&Request::resolve(parsed, &body).unwrap(), request, "{head}");
    }

    #[test]
    fn requests_survive_the_wire() {
        let messages = vec![
            Message::text("system", "be brief \"é\n\""),
            Message {
                role: "user".into(),
                content: vec![
                    Part::Text("look"),
                    Part::Image { media_type: "image/png".into(), data: &[0, 255] },
                ],
            },
        ];
        round_trip(&Request::Generate(Generate {
            prompt: Prompt::Messages(messages.clone()),
            n: 2,
            max_tokens: Some(5),
            temperature: Some(0.0),
            top_p: None,
            top_k: Some(4),
            stop: vec!["\n\n".into()],
            seed: Some(u64::MAX),
            logprobs: Some(0),
            stream: true,
            extra: Map::from_iter([("best_of".to_owned(), Value::from(2))]),
        }));
        round_trip(&Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text("Q: x\nA:"),
            continuations: vec![" yes", " no", ""],
            token_logprobs: true,
        }));
        round_trip(&Request::Rolling(Rolling { text: "all of it" }));
        round_trip(&Request::Render(messages));
        round_trip(&Request::Embed(vec!["a", "b"]));
        round_trip(&Request::Tokenize("a b"));
        round_trip(&Request::Health);
    }

    #[test]
    fn a_request_with_a_span_outside_its_body_is_refused() {
        let head: RequestHead<'_> = serde_json::from_str(r#"{"tokenize":{"text":[0,9]}}"#).unwrap();
        assert_eq!(Request::resolve(head, b"short"), Err(BadSpan(Span(0, 9))));
    }
}
