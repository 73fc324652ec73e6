//! A generation's output as a choice: its text cut at a stop text, its tokens, what it cost.
//!
//! Pure. Whole replies and streams come through here alike, so that both give the same answer.

use plugin_api::{Changed, Choice, Error, ErrorKind, FinishReason, Result, TokenLogprob, Usage};
use serde_json::Value;
use wire::stop;

use crate::decode::{Entry, Finish, Meta, Output};

/// What was asked for, as far as an answer is read by it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'s> {
    /// The stop texts to cut at, none of them empty.
    pub stop: &'s [&'s str],
    /// Whether log-probabilities were asked for.
    pub logprobs: bool,
    /// Most tokens to generate.
    pub max_new_tokens: u32,
    /// Tokens that were sent, where the prompt was sent as tokens.
    pub prompt_tokens: Option<usize>,
}

/// One choice and what it cost.
#[derive(Debug)]
pub struct Answered {
    /// The choice.
    pub choice: Choice,
    /// Tokens used.
    pub usage: Usage,
    /// What the server changed.
    pub changed: Option<Changed>,
}

/// An output as a choice.
///
/// # Errors
/// The failure that stands in its place; `context_length` if the server cut the prompt; `unexpected_reply` if
/// text, finish reason or log-probabilities are not there.
pub fn answered(output: Output<'_>, asked: &Asked<'_>) -> Result<Answered> {
    let meta = output.meta()?;
    uncut(asked.prompt_tokens, meta.prompt_tokens)?;
    let finish = meta
        .finish_reason
        .as_ref()
        .ok_or_else(|| Error::unexpected("an answer without `finish_reason`"))?;
    let tokens = if asked.logprobs { Some(token_logprobs(meta)?) } else { None };
    let text = output.text.as_ref().ok_or_else(|| {
        Error::unexpected(
            "an answer without `text`: was the server started with --skip-tokenizer-init?",
        )
    })?;
    let (usage, changed) = (usage(meta), shortened(finish, meta, asked)?);
    let cut = stop::find(text, 0, asked.stop);
    let choice = finished((**text).to_owned(), cut, Some(finish), tokens);
    Ok(Answered { choice, usage, changed })
}

/// Whether the server took the prompt as it was sent.
///
/// # Errors
/// `context_length` if it cut the prompt off at its end, as `--allow-auto-truncate` makes it do.
pub fn uncut(sent: Option<usize>, taken: Option<u64>) -> Result<()> {
    match (sent.map(|sent| sent as u64), taken) {
        (Some(sent), Some(taken)) if taken < sent => Err(Error::new(
            ErrorKind::ContextLength,
            format!(
                "the server cut the prompt from {sent} tokens to {taken} (--allow-auto-truncate): its \
                 answer is none to what was asked"
            ),
        )),
        _ => Ok(()),
    }
}

/// Tokens used, as the server counted them.
pub fn usage(meta: &Meta<'_>) -> Usage {
    Usage {
        prompt_tokens: meta.prompt_tokens,
        completion_tokens: meta.completion_tokens,
        cached_tokens: meta.cached_tokens,
        reasoning_tokens: meta.reasoning_tokens,
        ..Usage::default()
    }
}

/// A budget that the server's window, or a limit of its own, made smaller than was asked for: it ends an answer as
/// `length` all the same.
///
/// # Errors
/// `context_length` if nothing was left of it, so that there is no answer to grade.
pub fn shortened(
    finish: &Finish<'_>,
    meta: &Meta<'_>,
    asked: &Asked<'_>,
) -> Result<Option<Changed>> {
    let wanted = u64::from(asked.max_new_tokens);
    match meta.completion_tokens {
        Some(0) if &*finish.kind == "length" && wanted > 0 => Err(Error::new(
            ErrorKind::ContextLength,
            "the server had no token left to generate: the prompt fills its window",
        )),
        Some(got) if &*finish.kind == "length" && got < wanted => Ok(Some(Changed {
            parameter: "max_tokens".to_owned(),
            detail: format!(
                "the server ended an answer as too long before the {wanted} tokens that were asked for: its \
                 window, or a limit of its own, is smaller"
            ),
        })),
        _ => Ok(None),
    }
}

/// A choice cut at `cut`. A text that is cut at a stop text is complete, whatever the server says.
pub fn finished(
    mut text: String,
    cut: Option<usize>,
    finish: Option<&Finish<'_>>,
    mut tokens: Option<Vec<TokenLogprob>>,
) -> Choice {
    let finish_reason = match (cut, finish) {
        (None, Some(finish)) => FinishReason::from(&*finish.kind),
        _ => FinishReason::Stop,
    };
    if let Some(cut) = cut {
        text.truncate(cut);
    }
    let at_text = |finish: &Finish<'_>| matches!(finish.matched, Some(Value::String(_)));
    if let Some(tokens) = &mut tokens
        && (cut.is_some() || finish.is_some_and(at_text))
    {
        tokens.truncate(tokens_inside(tokens, &text));
    }
    Choice { text, reasoning: None, finish_reason, logprobs: tokens }
}

/// How many of the tokens begin inside a text that was cut at a stop text.
///
/// The server decodes each token on its own, by which some tokenizers lose the space before a word; so where the
/// texts do not add up, they are compared without spaces. Where that does not help either (a character of several
/// tokens), all tokens stay.
fn tokens_inside(tokens: &[TokenLogprob], text: &str) -> usize {
    let counted = |form: fn(&str) -> String| {
        let text = form(text);
        let (mut rest, mut inside) = (text.as_str(), 0);
        for token in tokens {
            if rest.is_empty() {
                break;
            }
            let token = form(&token.token);
            rest = match rest.strip_prefix(token.as_str()) {
                Some(after) => after,
                None if token.starts_with(rest) => "",
                None => return None,
            };
            inside += 1;
        }
        rest.is_empty().then_some(inside)
    };
    counted(str::to_owned).or_else(|| counted(|text| text.replace(' ', ""))).unwrap_or(tokens.len())
}

/// Generated tokens as the host keeps them, with their alternatives: the likeliest, then those that were asked for by
/// id and are not among them.
///
/// # Errors
/// `unexpected_reply` if there are none.
pub fn token_logprobs(meta: &Meta<'_>) -> Result<Vec<TokenLogprob>> {
    let tokens = meta
        .output_token_logprobs
        .as_ref()
        .ok_or_else(|| Error::unexpected("an answer without `output_token_logprobs`"))?;
    let with = |at: usize, token: &Entry<'_>| {
        let likeliest = at_position(meta.output_top_logprobs.as_deref(), at);
        let asked = at_position(meta.output_token_ids_logprobs.as_deref(), at);
        let further = asked.iter().filter(|asked| likeliest.iter().all(|known| known.1 != asked.1));
        let top = likeliest.iter().chain(further);
        TokenLogprob {
            token: token.to_text(),
            logprob: token.0,
            top: top.map(|other| (other.to_text(), other.0)).collect(),
        }
    };
    Ok(tokens.iter().enumerate().map(|(at, token)| with(at, token)).collect())
}

fn at_position<'l, 'a>(lists: Option<&'l [Option<Vec<Entry<'a>>>]>, at: usize) -> &'l [Entry<'a>] {
    lists.and_then(|lists| lists.get(at)?.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(tokens: &[&str], text: &str) -> usize {
        let token =
            |text: &&str| TokenLogprob { token: (*text).to_owned(), logprob: None, top: vec![] };
        tokens_inside(&tokens.iter().map(token).collect::<Vec<_>>(), text)
    }

    #[test]
    fn tokens_of_the_stop_text_are_left_out() {
        for (tokens, text, kept) in [
            (&[" a", " b", "\n", "\n"][..], " a b", 2),
            // The stop text begins inside a token.
            (&[" a", " b\n", "\nQ"], " a b", 2),
            // Tokens decoded on their own lost their spaces.
            (&["yes", "sir", "\n\n"], " yes sir", 2),
            (&["\n\n"], "", 0),
            // A character of two tokens: nothing can be told.
            (&["\u{fffd}", "\u{fffd}", "\n"], "é", 3),
        ] {
            assert_eq!(inside(tokens, text), kept, "{tokens:?}");
        }
    }
}
