//! Log-probabilities of generated tokens, by the pointers of the run file.
//!
//! Pure. Tokens and their alternatives are lists of objects, as OpenAI's chat and Ollama write them.

use plugin_api::{Error, Result, TokenLogprob};
use serde_json::Value;

use crate::{
    config::RawLogprobs,
    extract::{Pointer, kind_of},
};

/// Where things are in a list of tokens.
#[derive(Debug)]
pub struct Tokens {
    list: Pointer,
    token: Pointer,
    logprob: Pointer,
    top: Option<Pointer>,
}

impl Tokens {
    /// Compiles the table `reply.logprobs`.
    ///
    /// # Errors
    /// A pointer is none; the message names the key.
    pub fn compile(raw: &RawLogprobs) -> Result<Self> {
        Ok(Self {
            list: Pointer::parse("reply.logprobs.tokens", &raw.tokens)?,
            token: Pointer::parse("reply.logprobs.token", &raw.token)?,
            logprob: Pointer::parse("reply.logprobs.logprob", &raw.logprob)?,
            top: raw
                .top
                .as_deref()
                .map(|text| Pointer::parse("reply.logprobs.top", text))
                .transpose()?,
        })
    }

    /// Where the list is, from a choice.
    pub fn list(&self) -> &Pointer {
        &self.list
    }

    /// The tokens of the list at `list`; none if there is no list.
    ///
    /// # Errors
    /// `unexpected_reply` if the list is none, or an item of it is no token.
    pub fn find(&self, list: &Pointer, value: &Value) -> Result<Option<Vec<TokenLogprob>>> {
        let Some(there) = list.present(value) else {
            return Ok(None);
        };
        let items = there.as_array().ok_or_else(|| {
            Error::unexpected(format!(
                "log-probabilities: expected a list at {list}, found {}",
                kind_of(there)
            ))
        })?;
        items.iter().map(|item| self.token(item)).collect::<Result<_>>().map(Some)
    }

    fn token(&self, item: &Value) -> Result<TokenLogprob> {
        let (token, logprob) = self.pair(item)?;
        let top = match self.top.as_ref().and_then(|top| Some((top, top.present(item)?))) {
            None => Vec::new(),
            Some((_, Value::Array(list))) => {
                list.iter().map(|other| self.pair(other)).collect::<Result<_>>()?
            }
            Some((top, other)) => {
                return Err(Error::unexpected(format!(
                    "`reply.logprobs.top`: expected a list at {top}, found {}",
                    kind_of(other)
                )));
            }
        };
        Ok(TokenLogprob { token, logprob, top })
    }

    fn pair(&self, item: &Value) -> Result<(String, Option<f64>)> {
        let token = self.token.find(item).and_then(Value::as_str);
        let logprob = match self.logprob.find(item) {
            Some(Value::Null) => Some(None),
            Some(number) => number.as_f64().map(Some),
            None => None,
        };
        match (token, logprob) {
            (Some(token), Some(logprob)) => Ok((token.to_owned(), logprob)),
            _ => Err(Error::unexpected(format!(
                "`reply.logprobs`: expected a text at {} and a number at {} of each token",
                self.token, self.logprob
            ))),
        }
    }
}

/// Drops the tokens that begin at `cut` or after it.
pub fn keep_before(tokens: &mut Vec<TokenLogprob>, cut: usize) {
    let mut length = 0;
    let kept = tokens.iter().take_while(|token| {
        let begins = length;
        length += token.token.len();
        begins < cut
    });
    let kept = kept.count();
    tokens.truncate(kept);
}
