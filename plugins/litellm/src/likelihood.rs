//! Log-likelihood out of a completion's log-probabilities of its prompt: vLLM's `prompt_logprobs`, or the lists of an
//! `echo` (wire.md 4.1, evaluation.md V5).
//!
//! The rule of the boundary is lm-eval's: white space at the end of the context belongs to the continuation, and the
//! continuation's tokens are those of the whole beyond the number of the context's. Pure.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Likelihood, Reply, Result, message::Str};
use serde::Deserialize;
use wire::openai::failure;

/// One token of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Its text, where the reply tells it.
    pub text: String,
    /// Natural logarithm; none for the first, and for what is not a number.
    pub logprob: Option<f64>,
    /// Whether no token was likelier; none if the reply does not tell.
    pub greedy: Option<bool>,
}

/// Reply of a server that counts and gives the ids of a text's tokens.
#[derive(Debug, Deserialize)]
pub struct Tokenized {
    /// The ids.
    pub tokens: Vec<u32>,
    /// How many. A server without it has another route of the same name.
    pub count: usize,
}

/// The ids of a prompt and where the continuation's begin: the context's, then those of the whole beyond their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What is sent.
    pub ids: Vec<u32>,
    /// Number of the context's.
    pub context: usize,
    /// Whether the whole would have been cut otherwise at the boundary.
    pub merged: bool,
}

/// Joins the tokens of a context and of context and continuation.
///
/// # Errors
/// `invalid_request` if the continuation has no token, or the first one stands at the beginning of everything.
pub fn join(context: &[u32], whole: &[u32]) -> Result<Joined> {
    let rest = whole.get(context.len()..).unwrap_or_default();
    if rest.is_empty() {
        return Err(invalid(format!(
            "the continuation has no token of its own: context {} tokens, context and continuation {}",
            context.len(),
            whole.len()
        )));
    }
    if context.is_empty() {
        return Err(invalid(
            "an empty context, and the server puts no token before it: the first token has no probability"
                .to_owned(),
        ));
    }
    Ok(Joined {
        ids: [context, rest].concat(),
        context: context.len(),
        merged: !whole.starts_with(context),
    })
}

#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow, default)]
    logprobs: Option<Lists<'a>>,
    #[serde(default)]
    prompt_logprobs: Option<Vec<Option<BTreeMap<String, Entry>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lists<'a> {
    #[serde(borrow)]
    tokens: Option<Vec<Str<'a>>>,
    token_logprobs: Option<Vec<Option<f64>>>,
    top_logprobs: Option<Vec<Option<Alternatives>>>,
}

/// By text.
type Alternatives = BTreeMap<String, Option<f64>>;

#[derive(Clone, Copy, Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    logprob: Option<f64>,
    #[serde(default)]
    rank: Option<u64>,
}

/// The choices of a reply, one a prompt and in the order of the prompts, which theirs need not be.
fn choices(reply: &Reply, prompts: usize) -> Result<Vec<Choice<'_>>> {
    if !reply.is_success() {
        return Err(failure::of(reply));
    }
    let told = || failure::in_body(reply.body());
    let body: Body<'_> = reply.json().map_err(|error| told().unwrap_or(error))?;
    let mut choices = body.choices;
    if prompts > 1 {
        choices.sort_by_key(|choice| choice.index);
    }
    let in_order = |(at, choice): (usize, &Choice<'_>)| prompts == 1 || choice.index == Some(at);
    if choices.len() == prompts && choices.iter().enumerate().all(in_order) {
        return Ok(choices);
    }
    Err(told().unwrap_or_else(|| {
        let expected = match prompts {
            1 => "expected one choice".to_owned(),
            _ => format!("expected {prompts} choices, numbered from 0"),
        };
        Error::unexpected(expected).with_excerpt(reply.body())
    }))
}

/// Each prompt's tokens by id, as vLLM tells them.
///
/// # Errors
/// `unsupported` if the reply holds none; `unexpected_reply` if they are not those of the prompt.
pub fn by_id(reply: &Reply, prompts: &[&[u32]]) -> Result<Vec<Vec<Scored>>> {
    let choices = choices(reply, prompts.len())?.into_iter().zip(prompts);
    choices.map(|(choice, ids)| ids_of(choice, ids, reply)).collect()
}

fn ids_of(choice: Choice<'_>, ids: &[u32], reply: &Reply) -> Result<Vec<Scored>> {
    let Some(entries) = choice.prompt_logprobs else {
        return Err(none_given("`prompt_logprobs`"));
    };
    let unexpected = |what: String| Error::unexpected(what).with_excerpt(reply.body());
    if entries.len() != ids.len() {
        return Err(unexpected(format!(
            "`prompt_logprobs` has {} entries for a prompt of {} tokens",
            entries.len(),
            ids.len()
        )));
    }
    let scored = ids.iter().zip(entries).enumerate().map(|(at, (id, entry))| {
        let scored = |logprob, greedy| Scored { text: String::new(), logprob, greedy };
        match entry {
            None if at == 0 => Ok(scored(None, None)),
            None => Err(unexpected(format!("`prompt_logprobs` has nothing for token {at}"))),
            Some(entry) => {
                let entry = entry.get(&id.to_string()).ok_or_else(|| {
                    unexpected(format!("`prompt_logprobs` does not hold token {at} itself"))
                })?;
                Ok(scored(entry.logprob, entry.rank.map(|rank| rank == 1)))
            }
        }
    });
    scored.collect()
}

/// The tokens of each prompt's echo: those of the prompt, and one that was generated if the server gives it.
///
/// # Errors
/// `unsupported` if the reply holds no log-probabilities; `unexpected_reply` if its lists do not go together.
pub fn echoed(reply: &Reply, prompts: usize) -> Result<Vec<Vec<Scored>>> {
    choices(reply, prompts)?.into_iter().map(|choice| echo_of(choice, reply)).collect()
}

fn echo_of(choice: Choice<'_>, reply: &Reply) -> Result<Vec<Scored>> {
    let Some(Lists { tokens, token_logprobs: Some(values), top_logprobs }) = choice.logprobs else {
        return Err(none_given("an echo with log-probabilities"));
    };
    let texts = tokens.unwrap_or_default();
    let top = top_logprobs.unwrap_or_default();
    for (name, length) in [("tokens", texts.len()), ("top_logprobs", top.len())] {
        if length != 0 && length != values.len() {
            return Err(Error::unexpected(format!(
                "`{name}` has {length} entries, `token_logprobs` {}",
                values.len()
            ))
            .with_excerpt(reply.body()));
        }
    }
    let scored = values.into_iter().enumerate().map(|(at, logprob)| {
        let best = top
            .get(at)
            .and_then(Option::as_ref)
            .map(|top| top.values().filter_map(|value| *value).fold(f64::NEG_INFINITY, f64::max));
        Scored {
            text: texts.get(at).map_or_else(String::new, |text| text.to_string()),
            logprob,
            // The map is keyed by text and need not hold the token itself; its value does.
            greedy: best.zip(logprob).map(|(best, logprob)| logprob >= best),
        }
    });
    Ok(scored.collect())
}

/// The prompt's tokens of an echo of a prompt of so many: at most one was generated beyond it (`max_tokens` is 1; a
/// server may also give none).
///
/// # Errors
/// `unsupported` if only what was generated came back; `unexpected_reply` for any other number.
pub fn of_prompt(mut echo: Vec<Scored>, prompt: usize) -> Result<Vec<Scored>> {
    match echo.len() {
        0 | 1 if prompt > 1 => Err(none_given("an echo with log-probabilities")),
        found if found == prompt || found == prompt + 1 => {
            echo.truncate(prompt);
            Ok(echo)
        }
        found => Err(Error::unexpected(format!(
            "an echo of {found} tokens for a prompt of {prompt} and one more"
        ))),
    }
}

/// The prompt's tokens of an echo whose number of tokens is not known, and the first of the continuation's: the one in
/// which or before which the context ends. The texts of the tokens must make the prompt.
///
/// # Errors
/// `unsupported` if only what was generated came back, or the texts do not make the prompt, so that nobody can tell where
/// the continuation begins.
pub fn of_text(
    mut echo: Vec<Scored>,
    context: &str,
    continuation: &str,
) -> Result<(Vec<Scored>, usize, bool)> {
    let whole = context.len() + continuation.len();
    let begins_with = |text: &str, at: usize| {
        // The text of context and continuation, read on from a byte.
        match context.get(at..) {
            Some(rest) if rest.len() >= text.len() => rest.starts_with(text),
            Some(rest) => {
                text.strip_prefix(rest).is_some_and(|more| continuation.starts_with(more))
            }
            None => {
                continuation.get(at - context.len()..).is_some_and(|rest| rest.starts_with(text))
            }
        }
    };
    // What the server puts before a text is not part of it.
    let leading =
        echo.first().is_some_and(|first| first.logprob.is_none() && !begins_with(&first.text, 0));
    let mut at = 0;
    let mut first = None;
    let mut merged = false;
    let mut count = usize::from(leading);
    for token in echo.iter().skip(count) {
        if at >= whole {
            break;
        }
        if token.text.is_empty() || !begins_with(&token.text, at) {
            let what = if count == usize::from(leading) {
                none_given("an echo of the prompt")
            } else {
                Error::new(
                    ErrorKind::Unsupported,
                    "the tokens of the echo do not make the prompt, and the server has no /tokenize: nobody \
                     can tell where the continuation begins",
                )
            };
            return Err(what);
        }
        let end = at + token.text.len();
        if first.is_none() && end > context.len() {
            first = Some(count);
            merged = at < context.len();
        }
        at = end;
        count += 1;
    }
    if at < whole {
        return Err(none_given("an echo of the whole prompt"));
    }
    echo.truncate(count);
    let first =
        first.ok_or_else(|| invalid("the continuation has no token of its own".to_owned()))?;
    if first == 0 {
        return Err(invalid(
            "an empty context, and the server puts no token before it: the first token has no probability"
                .to_owned(),
        ));
    }
    Ok((echo, first, merged))
}

/// Sums the tokens from the `first` on.
///
/// # Errors
/// `invalid_request` if there are none: an empty sum would be a perfect score.
pub fn sum(prompt: &[Scored], first: usize, merged: bool, tokens: bool) -> Result<Likelihood> {
    let scored = prompt.get(first..).unwrap_or_default();
    if scored.is_empty() {
        return Err(invalid("no token is left to be scored".to_owned()));
    }
    let finite = |logprob: Option<f64>| logprob.filter(|value| value.is_finite());
    let greedy = scored.iter().map(|token| token.greedy).collect::<Option<Vec<_>>>();
    Ok(Likelihood {
        logprob: scored.iter().map(|token| finite(token.logprob)).sum(),
        tokens: u32::try_from(scored.len()).unwrap_or(u32::MAX),
        greedy: greedy.map(|greedy| greedy.into_iter().all(|greedy| greedy)),
        boundary_merged: merged,
        token_logprobs: tokens.then(|| scored.iter().map(|t| finite(t.logprob)).collect()),
        prompt_tokens: u64::try_from(prompt.len()).ok(),
    })
}

/// The first token that has a probability: all but the very first, which has no condition.
pub fn first_scored(prompt: &[Scored]) -> usize {
    usize::from(prompt.first().is_some_and(|first| first.logprob.is_none()))
}

/// A server that leaves out what was asked for.
fn none_given(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the server gives no log-probabilities of a prompt: {what} did not come back (llama.cpp's server and \
             most vendors have none; vLLM, SGLang and OpenAI's base models do)"
        ),
    )
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
