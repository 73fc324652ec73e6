//! vLLM's `/tokenize` and `/detokenize`.

use serde::Deserialize;
use serde_json::json;

use super::{Dialect, Message, Refusal, Tokens, message::turns};
use crate::mock::{
    exchange::Answer,
    flavors::text::Text,
    model::{Prompt, Turn},
    strict,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the model and the template are accepted; the mock has one of each")]
struct Tokenize<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    prompt: Option<Text<'a>>,
    #[serde(borrow, default)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(default)]
    add_special_tokens: Option<bool>,
    #[serde(default)]
    add_generation_prompt: Option<bool>,
    #[serde(default)]
    return_token_strs: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the model is accepted; the mock has one")]
struct Detokenize<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    tokens: Vec<u32>,
}

/// The tokens of a text, or of a chat as the mock's template writes it.
pub(crate) fn tokenize(body: &[u8]) -> Answer {
    match tokens(body) {
        Err(refusal) => Dialect::Vllm.refuse(&refusal),
        Ok((tokens, strings)) => {
            let ids: Vec<u32> = tokens.tokens.iter().map(|token| token.id).collect();
            let strings: Option<Vec<String>> =
                strings.then(|| tokens.tokens.iter().map(|token| tokens.piece(token)).collect());
            Answer::json(
                200,
                &json!({
                    "count": ids.len(),
                    "max_model_len": Dialect::Vllm.context(),
                    "tokens": ids,
                    "token_strs": strings,
                }),
            )
        }
    }
}

fn tokens(body: &[u8]) -> Result<(Tokens, bool), Refusal> {
    let request: Tokenize<'_> = strict::read(body)?;
    let strings = request.return_token_strs == Some(true);
    let tokens = match (request.prompt, request.messages) {
        (Some(prompt), None) => Tokens::of_text(&prompt, request.add_special_tokens != Some(false)),
        (None, Some(messages)) => {
            let turns: Vec<Turn<'_>> = turns(messages)?;
            let text = Prompt::template(&turns);
            Tokens::of_text(&text, request.add_special_tokens == Some(true))
        }
        _ => return Err(Refusal::new("Expected either 'prompt' or 'messages'.")),
    };
    Ok((tokens, strings))
}

/// The text of tokens.
pub(crate) fn detokenize(body: &[u8]) -> Answer {
    match strict::read::<Detokenize<'_>>(body) {
        Err(misfit) => Dialect::Vllm.refuse(&misfit.into()),
        Ok(request) => {
            Answer::json(200, &json!({ "prompt": Tokens::of_ids(&request.tokens).text }))
        }
    }
}
