//! Log-likelihood: the tokens of context and continuations by `/tokenize`, their log-probabilities by one call of
//! `/generate` for all continuations. What is summed is [`likelihood`]'s business.

use std::borrow::Cow;

use plugin_api::{
    Error, ErrorKind, HttpRequest, Io, Likelihood, Loglikelihood, Message, Prompt, Result, Rolling,
};
use wire::text;

use crate::{
    Sglang,
    decode::{self, Models},
    encode::{self, Input},
    generate::shown,
    likelihood::{self, Sequence},
};

impl Sglang {
    /// Scores each continuation after the context.
    pub(crate) async fn scored(
        &self,
        request: &Loglikelihood<'_>,
        io: &Io,
    ) -> Result<Vec<Likelihood>> {
        let continuations = &request.continuations;
        let sequences = match &request.prompt {
            Prompt::Text(text) => {
                let special = self.config.add_special_tokens;
                self.after_text(text, continuations, special, io).await?
            }
            Prompt::Messages(messages) => self.after_chat(messages, continuations, io).await?,
        };
        self.likelihoods(&sequences, request.token_logprobs, io).await
    }

    /// Scores every token of a text that follows another: those that the tokenizer puts before the text come first,
    /// else the configured prefix token, else the text's own first token, which then stays unscored.
    pub(crate) async fn scored_whole(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        let texts = ["", request.text];
        let tokens = self.tokens(&texts, self.config.add_special_tokens, io).await?;
        let [leading, mut ids] = <[Vec<u32>; 2]>::try_from(tokens).map_err(|_| uncounted())?;
        let mut from = if ids.starts_with(&leading) { leading.len() } else { 0 };
        if from == 0
            && let Some(prefix) = self.config.prefix_token_id
        {
            ids.insert(0, prefix);
            from = 1;
        }
        // One position of the server's window is for the token that it generates.
        let most = match self.context_tokens(io).await {
            Some(tokens) => usize::try_from(tokens).unwrap_or(usize::MAX).saturating_sub(1),
            None => ids.len(),
        };
        let windows = likelihood::windows(&ids, from, most);
        if windows.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the text has no token that follows another",
            ));
        }
        Ok(likelihood::total(self.likelihoods(&windows, false, io).await?))
    }

    async fn likelihoods(
        &self,
        sequences: &[Sequence],
        tokens: bool,
        io: &Io,
    ) -> Result<Vec<Likelihood>> {
        let inputs: Vec<_> =
            sequences.iter().map(|sequence| Input::Ids(sequence.ids.clone())).collect();
        let starts = sequences.iter().map(Sequence::start).collect();
        let inputs: Vec<_> = inputs.iter().collect();
        let body = encode::scoring(&self.config, &inputs, starts);
        let reply = io.send(self.post("/generate", &body)?).await?;
        let outputs = decode::outputs(&reply, sequences.len())?;
        sequences
            .iter()
            .zip(&outputs)
            .map(|(sequence, output)| {
                likelihood::scored(&sequence.ids, sequence.from, sequence.start(), output)
                    .map(|scored| scored.likelihood(sequence, tokens))
                    .map_err(|error| shown(error, reply.body()))
            })
            .collect()
    }

    async fn after_text(
        &self,
        text: &str,
        continuations: &[&str],
        special: bool,
        io: &Io,
    ) -> Result<Vec<Sequence>> {
        let (context, moved) = plugin_api::split_context(text);
        if moved.is_empty() {
            none_empty(continuations)?;
        }
        let wholes: Vec<String> = continuations.iter().map(|own| [text, own].concat()).collect();
        let texts: Vec<&str> =
            std::iter::once(context).chain(wholes.iter().map(String::as_str)).collect();
        let tokens = self.tokens(&texts, special, io).await?;
        let (context, wholes) = tokens.split_first().ok_or_else(uncounted)?;
        let prefix = self.config.prefix_token_id;
        wholes.iter().map(|whole| likelihood::sequence(context, whole, prefix)).collect()
    }

    /// The template's text is scored like any other, so that the rule at its end is the same on every backend. Where
    /// the tokenizer does not give the template's own tokens for that text, the continuation's tokens simply follow
    /// them.
    async fn after_chat(
        &self,
        messages: &[Message<'_>],
        continuations: &[&str],
        io: &Io,
    ) -> Result<Vec<Sequence>> {
        let (messages, prefix) = text::split_prefix(messages)?;
        let template = &self.config.chat_template_kwargs;
        let ids = self.templated(messages, template, io).await?;
        if let Some(text) = self.faithful_text(&ids, io).await? {
            let text = [text.as_str(), &*prefix].concat();
            return self.after_text(&text, continuations, false, io).await;
        }
        none_empty(continuations)?;
        let texts: Vec<&str> =
            std::iter::once(&*prefix).chain(continuations.iter().copied()).collect();
        let tokens = self.tokens(&texts, false, io).await?;
        let (prefix, own) = tokens.split_first().ok_or_else(uncounted)?;
        let context = [ids.as_slice(), prefix].concat();
        let wholes = own.iter().map(|own| [context.as_slice(), own].concat());
        wholes.map(|whole| likelihood::sequence(&context, &whole, None)).collect()
    }

    /// The text of these tokens, if it has these tokens. None also where the server has no route for it.
    async fn faithful_text(&self, ids: &[u32], io: &Io) -> Result<Option<String>> {
        let text = match self.text_of(ids, io).await {
            Ok(text) => text,
            Err(error) if error.http_status == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let again = self.tokens(&[&text], false, io).await?;
        Ok((again.first().map(Vec::as_slice) == Some(ids)).then_some(text))
    }

    /// The server's context length, as configured or as it says; asked for once. None where it does not say: then
    /// the server itself refuses what is too long.
    pub(crate) async fn context_tokens(&self, io: &Io) -> Option<u64> {
        if let Some(configured) = self.config.max_context_tokens {
            return Some(u64::from(configured));
        }
        if let Some(known) = self.context.get() {
            return *known;
        }
        let call: HttpRequest<'_> = self.get("/v1/models");
        let reply = io.send(call).await.ok()?;
        if reply.status != 404 && !reply.is_success() {
            return None;
        }
        let models = decode::success::<Models>(&reply).ok();
        let length = models.and_then(|models| models.data.first()?.max_model_len);
        *self.context.get_or_init(|| length)
    }

    /// A conversation as the text that the model sees, the prefix of the answer with it.
    pub(crate) async fn rendered(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        let (messages, prefix) = text::split_prefix(messages)?;
        let template = &self.config.chat_template_kwargs;
        let ids = self.templated(messages, template, io).await?;
        let text = self.text_of(&ids, io).await?;
        Ok([Cow::Owned(text), prefix].concat())
    }
}

fn none_empty(continuations: &[&str]) -> Result<()> {
    if continuations.contains(&"") {
        return Err(Error::new(ErrorKind::InvalidRequest, "an empty continuation has no score"));
    }
    Ok(())
}

fn uncounted() -> Error {
    Error::unexpected("a text was not tokenised")
}
