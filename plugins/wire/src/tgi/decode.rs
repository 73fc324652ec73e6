//! Replies of TGI as typed values (router/src/lib.rs: `GenerateResponse`, `StreamResponse`, `SimpleToken`,
//! `Info`, version 3.3), and a reply to a generation as a choice.
//!
//! Pure: borrows from the reply. Texts are borrowed where JSON did not escape them.

use std::borrow::Cow;

use plugin_api::{
    Choice, FinishReason, Reply, Result, TokenLogprob, Usage,
    message::{self, Str},
};
use serde::{Deserialize, de::IgnoredAny};

use super::failure;
use crate::{count, object::Object, stop};

/// Reply of `/generate`, with a list of tokens as `L`.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct Generated<'a, L = Vec<Token<'a>>> {
    /// The answer, with the stop text that ended it.
    #[serde(borrow)]
    pub generated_text: Cow<'a, str>,
    /// Present if it was asked for.
    #[serde(borrow, default)]
    pub details: Option<Details<'a, L>>,
}

/// How a generation went.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct Details<'a, L = Vec<Token<'a>>> {
    /// `length`, `eos_token` or `stop_sequence`.
    #[serde(borrow)]
    pub finish_reason: Cow<'a, str>,
    /// Tokens generated, the end token included; none if the server gives no count.
    #[serde(deserialize_with = "count::read")]
    pub generated_tokens: Option<u64>,
    /// Tokens generated; absent from the last event of a stream.
    #[serde(default)]
    pub tokens: L,
    /// The likeliest tokens at each position, if they were asked for.
    #[serde(default)]
    pub top_tokens: Option<Vec<L>>,
    /// Tokens of the prompt; only in the last event of a stream.
    #[serde(default, deserialize_with = "count::read")]
    pub input_length: Option<u64>,
}

/// Reply of `/generate` to a scoring: of all that it holds, the prompt's tokens.
#[derive(Debug, Deserialize)]
pub struct Scored {
    /// Always asked for.
    pub details: ScoredDetails,
}

/// The prompt's part of the details.
#[derive(Debug, Deserialize)]
pub struct ScoredDetails {
    /// Every token of the prompt, with what the server puts before it; empty if the server has none.
    #[serde(default)]
    pub prefill: Vec<Prefill>,
}

/// One token of the prompt.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Prefill {
    /// Its id.
    pub id: u32,
    /// Natural logarithm; null for the first token, which has no condition, and for what is not a number.
    #[serde(default)]
    pub logprob: Option<f64>,
}

/// One generated token, or an alternative to it.
#[derive(Debug, Deserialize)]
pub struct Token<'a> {
    /// Its text; empty while a character is incomplete.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    /// Natural logarithm.
    #[serde(default)]
    pub logprob: Option<f64>,
    /// Whether it is left out of the answer's text.
    #[serde(default)]
    pub special: bool,
}

/// One token of `/tokenize` or `/chat_tokenize`.
#[derive(Debug, Deserialize)]
pub struct TextToken<'a> {
    /// Its id.
    pub id: u32,
    /// Its part of the text; empty for one that the server added, and for every one where the model has only
    /// a slow tokenizer.
    #[serde(borrow, default)]
    pub text: Cow<'a, str>,
}

/// Reply of `/chat_tokenize`.
#[derive(Debug, Deserialize)]
pub struct Templated<'a> {
    /// The messages as text.
    #[serde(borrow)]
    pub templated_text: Cow<'a, str>,
    /// Its tokens.
    #[serde(borrow, default)]
    pub tokenize_response: Vec<TextToken<'a>>,
}

/// Reply of `/info`. Versions before 3 call the first bound `max_input_length`.
#[derive(Debug, Deserialize)]
pub struct Info<'a> {
    /// The model's name.
    #[serde(borrow)]
    pub model_id: Cow<'a, str>,
    /// TGI's version.
    #[serde(borrow, default)]
    pub version: Option<Str<'a>>,
    /// Most tokens of prompt and answer together.
    #[serde(default)]
    pub max_total_tokens: Option<u64>,
}

/// Reads a reply that must be a success.
///
/// # Errors
/// What [`failure`] makes of another status, and of an error object under a good one; `unexpected_reply` if
/// the shape is not `T`'s.
pub fn success<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T> {
    if !reply.is_success() {
        return Err(failure::of(reply));
    }
    reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))
}

/// The answer and what it cost. Tokens whose log-probabilities are not asked for may be of any shape.
///
/// # Errors
/// As for [`success`].
pub fn choice(reply: &Reply, stops: &[&str], logprobs: bool) -> Result<(Choice, Usage)> {
    let prompt_tokens = prompt_tokens(reply);
    // Most of a reply is tokens. Where they are not of use they are passed over, which `serde_json` is fast at.
    if !logprobs
        && reply.is_success()
        && let Ok(Object(generated)) = message::read(reply.body())
    {
        let Cut { choice, usage, .. } = cut::<IgnoredAny>(generated, prompt_tokens, stops);
        return Ok((choice, usage));
    }
    let Object(generated) = success(reply)?;
    Ok(choice_of(generated, prompt_tokens, stops, logprobs))
}

/// Tokens of the prompt, which the server tells in a header.
pub fn prompt_tokens(reply: &Reply) -> Option<u64> {
    reply.header("x-prompt-tokens").and_then(|n| n.trim().parse().ok())
}

/// As [`choice`], for a reply that is read already.
pub fn choice_of(
    generated: Generated<'_>,
    prompt_tokens: Option<u64>,
    stops: &[&str],
    logprobs: bool,
) -> (Choice, Usage) {
    let Cut { mut choice, usage, at, details } = cut(generated, prompt_tokens, stops);
    if logprobs {
        let (tokens, top) =
            details.as_ref().map_or((&[][..], None), |d| (&d.tokens[..], d.top_tokens.as_deref()));
        let tokens = tokens.iter().enumerate().map(|(at, token)| {
            let alternatives = top.and_then(|top| top.get(at)).map_or(&[][..], Vec::as_slice);
            (token, alternatives)
        });
        choice.logprobs = Some(token_logprobs(tokens, at));
    }
    (choice, usage)
}

/// An answer cut at its first stop text, before its tokens are looked at.
struct Cut<'a, L> {
    choice: Choice,
    usage: Usage,
    /// Where it was cut.
    at: Option<usize>,
    details: Option<Details<'a, L>>,
}

fn cut<'a, L>(
    Generated { generated_text, details }: Generated<'a, L>,
    prompt_tokens: Option<u64>,
    stops: &[&str],
) -> Cut<'a, L> {
    let usage = Usage {
        prompt_tokens,
        completion_tokens: details.as_ref().and_then(|details| details.generated_tokens),
        ..Usage::default()
    };
    let reason = details.as_ref().map(|details| &*details.finish_reason);
    let at = stop::find(&generated_text, 0, stops);
    let choice = finished(generated_text.into_owned(), at, reason);
    Cut { choice, usage, at, details }
}

/// A choice cut at `cut`. TGI calls it `length` if budget and stop text are reached by the same token; a text
/// that is cut at a stop text is complete all the same.
pub fn finished(mut text: String, cut: Option<usize>, reason: Option<&str>) -> Choice {
    let finish_reason = match (cut, reason) {
        (Some(_), _) | (None, Some("eos_token" | "stop_sequence")) => FinishReason::Stop,
        (None, Some(other)) => other.into(),
        (None, None) => FinishReason::Other("unknown".to_owned()),
    };
    if let Some(cut) = cut {
        text.truncate(cut);
    }
    Choice { text, reasoning: None, finish_reason, logprobs: None }
}

/// Log-probabilities of the tokens that begin before `cut`.
pub fn token_logprobs<'t, 'a: 't>(
    tokens: impl Iterator<Item = (&'t Token<'a>, &'t [Token<'a>])>,
    cut: Option<usize>,
) -> Vec<TokenLogprob> {
    let mut length = 0;
    tokens
        .take_while(|(token, _)| {
            let begins = length;
            length += if token.special { 0 } else { token.text.len() };
            cut.is_none_or(|cut| begins < cut)
        })
        .map(|(token, top)| token_logprob(token, top))
        .collect()
}

/// One token as the host keeps it.
pub fn token_logprob(token: &Token<'_>, top: &[Token<'_>]) -> TokenLogprob {
    TokenLogprob {
        token: token.text.clone().into_owned(),
        logprob: token.logprob,
        top: top.iter().map(|other| (other.text.clone().into_owned(), other.logprob)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::ErrorKind;

    use super::*;

    #[test]
    fn tokens_are_looked_at_only_where_they_are_asked_for() {
        let body = |text: &[u8], tokens: &str| {
            let details = format!(
                r#"","details":{{"finish_reason":"length","generated_tokens":2,"tokens":{tokens}}}}}"#
            );
            [br#"{"generated_text":""#, text, details.as_bytes()].concat()
        };
        let choice = |body: &[u8], logprobs| {
            let reply = Reply::new(200, &[("x-prompt-tokens", "7")], body);
            choice(&reply, &["!"], logprobs).map_err(|error| error.kind)
        };
        for (text, tokens, without, with) in [
            (&b"a! b"[..], r#"[{"text":"a","logprob":-1.5}]"#, true, true),
            (b"a", r#"[{"logprob":"high"}]"#, true, false),
            (b"a", "[", false, false),
            (b"\xff", "[]", false, false),
        ] {
            let body = body(text, tokens);
            for (logprobs, good) in [(false, without), (true, with)] {
                match choice(&body, logprobs) {
                    Ok((choice, usage)) => {
                        assert!(good, "{tokens} {logprobs}");
                        assert_eq!(
                            (choice.text.as_str(), choice.logprobs.is_some()),
                            ("a", logprobs)
                        );
                        assert_eq!(
                            (usage.prompt_tokens, usage.completion_tokens),
                            (Some(7), Some(2))
                        );
                    }
                    Err(kind) => {
                        assert!(!good && kind == ErrorKind::UnexpectedReply, "{tokens} {logprobs}");
                    }
                }
            }
        }
    }
}
