//! `/completions`: from the body to the reply.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Dialect, Failure, Refusal, Tokens,
    answer::{least, least_usize},
    echo::{self, Logprobs},
    prompt::PromptField,
    reply::{
        CREATED, Chunks, Reply, TextChoice, Usage, fingerprint, finish_reason, prompt_verdict,
        verdict, with_limits,
    },
    request::{StreamOptions, request},
    rules, trouble,
    values::{at_most, decimal, integer},
};
use crate::mock::{
    exchange::Answer,
    flavors::{
        cue::{self, Filter},
        text::{Text, TextOr},
    },
    model::{Ask, End, Prompt, Said, cut_to_budget},
    server::Mock,
    strict,
};
use serde::de::IgnoredAny;

request! {
    /// A request for a text's continuation.
    CompletionRequest {
        /// What to continue.
        #[serde(borrow)]
        prompt: PromptField<'a>,
        #[serde(default)]
        suffix: Option<IgnoredAny>,
        /// 16 if it is not there; with `echo` it may be 0.
        #[serde(default)]
        max_tokens: Option<i64>,
        /// How many alternatives: at most 5, with vLLM 20.
        #[serde(default)]
        logprobs: Option<i64>,
        /// Whether the prompt comes back before the answer.
        #[serde(default)]
        echo: Option<bool>,
        /// How many to choose `n` from.
        #[serde(default)]
        best_of: Option<i64>,
    }
}

impl CompletionRequest<'_> {
    fn check(&self, vllm: bool) -> Result<(), Refusal> {
        self.check_common(vllm, self.max_tokens)?;
        integer("max_tokens", self.max_tokens, 0..=i64::MAX)?;
        integer("logprobs", self.logprobs, 0..=if vllm { 20 } else { 5 })?;
        if vllm && self.best_of.is_some() {
            return Err(Refusal::unknown("best_of"));
        }
        integer("best_of", self.best_of, self.n.unwrap_or(1)..=20)?;
        if self.best_of.is_some_and(|best_of| best_of > 1) && self.streams() {
            let message = "best_of cannot be used with stream.";
            return Err(Refusal::new(message).of("best_of", "invalid_value"));
        }
        if self.suffix.is_some() {
            return Err(Refusal::unsupported_parameter("suffix", ""));
        }
        Ok(())
    }
}

/// Answers a completion. `deployment` is the model where the path names it.
pub(crate) async fn completions(
    dialect: Dialect,
    deployment: Option<&str>,
    body: &[u8],
    mock: &Mock,
) -> Answer {
    let mut request = match strict::read::<CompletionRequest<'_>>(body) {
        Ok(request) => request,
        Err(misfit) => return dialect.refuse(&misfit.into()),
    };
    let named = request.model.take().map(|model| model.0);
    let Some(model) = deployment.map(Cow::Borrowed).or(named).filter(|model| !model.is_empty())
    else {
        return dialect.refuse(&Refusal::new("you must provide a model parameter"));
    };
    let dialect = dialect.of_model(&model);
    match answer(dialect, &model, request, mock).await {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) => dialect.refuse(&refusal),
        Err(Failure::Trouble(failed)) => trouble(dialect, &failed),
    }
}

/// One prompt and one answer to it.
struct Completed<'p> {
    prompt: &'p Tokens,
    said: Said,
    filtered: bool,
    /// The text that the choice shows.
    text: String,
}

async fn answer(
    dialect: Dialect,
    model: &str,
    mut request: CompletionRequest<'_>,
    mock: &Mock,
) -> Result<Answer, Failure> {
    let vllm = dialect == Dialect::Vllm;
    request.check(vllm)?;
    if cue::is_missing(model) {
        return Err(Refusal::missing_model(dialect, model).into());
    }
    let echo = request.echo == Some(true);
    rules::check_completion(dialect, model, echo && request.logprobs.is_some())?;
    let bos = vllm && request.add_special_tokens != Some(false);
    let Some(mut prompts) = request.prompt.tokens(bos) else {
        let message = "Invalid 'prompt': expected a string, an array of strings, an array of tokens, or an array of \
                       token arrays, not empty and all of one kind.";
        return Err(Refusal::new(message).of("prompt", "invalid_value").into());
    };
    at_most("prompt", 2048, prompts.len())?;
    let kept = request.truncate_prompt_tokens.and_then(|most| usize::try_from(most).ok());
    for prompt in &mut prompts {
        prompt.keep_last(kept.unwrap_or(usize::MAX));
    }
    let budget = usize::try_from(request.max_tokens.unwrap_or(16)).unwrap_or(usize::MAX);
    if let Some(prompt) =
        prompts.iter().find(|prompt| prompt.tokens.len().saturating_add(budget) > dialect.context())
    {
        let (most, got) = (dialect.context(), prompt.tokens.len());
        let message = format!(
            "This model's maximum context length is {most} tokens. However, you requested {} tokens ({got} in the prompt, \
             {budget} in the completion). Please reduce the length of the prompt or completion.",
            got.saturating_add(budget)
        );
        return Err(Refusal::new(message).of("prompt", "context_length_exceeded").into());
    }
    let count = usize::try_from(request.n.unwrap_or(1)).unwrap_or(1);
    let stops = request.stop.take().map_or_else(Vec::new, TextOr::into_list);
    let mut all = Vec::with_capacity(prompts.len() * count);
    for prompt in &prompts {
        let text = Prompt::Text(Cow::Borrowed(&prompt.text));
        let filter = cue::filter(&text).filter(|_| !vllm);
        if filter == Some(Filter::Prompt)
            && let Some(refused) = dialect.refuse_filtered(false)
        {
            return Ok(refused);
        }
        let ask = Ask {
            max_tokens: Some(budget),
            min_tokens: least(request.min_tokens, request.ignore_eos, Some(budget)),
            stop: stops.clone(),
            temperature: request.temperature,
            top_p: request.top_p,
            frequency_penalty: request.frequency_penalty,
            presence_penalty: request.presence_penalty,
            seed: request.seed.map(i64::cast_unsigned),
            ..Ask::new(text)
        };
        for choice in 0..count as u64 {
            let ask = Ask { choice, ..ask.clone() };
            let mut said = mock.say(&ask).await?;
            if filter.is_some() {
                let half = said.tokens.len() / 2;
                cut_to_budget(&mut said, half);
            }
            let with_stop = request.include_stop_str_in_output == Some(true);
            let answer = if with_stop { said.with_stop() } else { said.text() };
            let text = [if echo { &prompt.text } else { "" }, answer].concat();
            all.push(Completed { prompt, said, filtered: filter.is_some(), text });
        }
    }
    let prompt_tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let answered = all.iter().map(|completed| completed.said.completion_tokens).sum();
    let usage = Usage::new(dialect, prompt_tokens, answered, 0);
    let number = prompts.first().map_or(0, |prompt| prompt.context().number());
    let id = format!("cmpl-{number:016x}");
    let writer = Writer { dialect, request: &request, stops: &stops, echo };
    let answer = if request.streams() {
        let object = "text_completion";
        let chunks = Chunks { dialect, id: &id, object, model, usage: request.streams_usage() };
        Answer::events(writer.frames(&all, &chunks, usage))
    } else {
        let choices = all.iter().enumerate().map(|(at, completed)| writer.choice(at, completed));
        let mut choices: Vec<TextChoice<'_>> = choices.collect();
        // Their order is no promise, so a client has to go by their numbers.
        choices.reverse();
        Answer::json(
            200,
            &Reply {
                id: &id,
                object: "text_completion",
                created: CREATED,
                model,
                system_fingerprint: fingerprint(dialect),
                choices,
                usage: Some(Some(usage)),
                prompt_filter_results: (dialect == Dialect::Azure).then(prompt_verdict),
                prompt_logprobs: None,
            },
        )
    };
    Ok(with_limits(dialect, answer, &id, usage))
}

struct Writer<'a> {
    dialect: Dialect,
    request: &'a CompletionRequest<'a>,
    stops: &'a [Cow<'a, str>],
    echo: bool,
}

impl Writer<'_> {
    fn choice<'c>(&'c self, index: usize, completed: &'c Completed<'_>) -> TextChoice<'c> {
        let Completed { prompt, said, filtered, text } = completed;
        let ids = self.request.return_token_ids == Some(true);
        // vLLM takes `echo` with log-probabilities for a wish for those of the prompt in its own form, too.
        let echoed = self.request.logprobs.filter(|_| self.echo && self.dialect == Dialect::Vllm);
        TextChoice {
            index,
            text,
            logprobs: self.logprobs(completed),
            finish_reason: Some(finish_reason(said.end, *filtered)),
            stop_reason: self.stop_reason(said),
            prompt_logprobs: self
                .request
                .prompt_logprobs
                .or(echoed)
                .map(|most| echo::prompt_logprobs(prompt, most)),
            token_ids: ids.then(|| said.tokens.iter().map(|token| token.id).collect()),
            prompt_token_ids: ids.then(|| prompt.tokens.iter().map(|token| token.id).collect()),
            content_filter_results: (self.dialect == Dialect::Azure).then(|| verdict(*filtered)),
        }
    }

    fn logprobs(&self, completed: &Completed<'_>) -> Option<Logprobs> {
        let most = least_usize(Some(self.request.logprobs?));
        let mut logprobs = Logprobs::default();
        if self.echo {
            logprobs.push_prompt(completed.prompt, most);
        }
        let before = completed.prompt.text.chars().count();
        logprobs.push_answer(&completed.said, most, before);
        Some(logprobs)
    }

    fn stop_reason(&self, said: &Said) -> Option<Option<&str>> {
        (self.dialect == Dialect::Vllm).then(|| match said.end {
            End::Stop(number) => self.stops.get(number).map(|stop| &**stop),
            End::Eos | End::Length => None,
        })
    }

    fn frames(&self, all: &[Completed<'_>], chunks: &Chunks<'_>, usage: Usage) -> Vec<Vec<u8>> {
        let mut frames = Vec::with_capacity(usage.completion_tokens + 4);
        frames.extend(chunks.first());
        for (index, completed) in all.iter().enumerate() {
            let part = |text, logprobs| TextChoice {
                index,
                text,
                logprobs,
                finish_reason: None,
                stop_reason: None,
                prompt_logprobs: None,
                token_ids: None,
                prompt_token_ids: None,
                content_filter_results: None,
            };
            let most = self.request.logprobs.map(|most| least_usize(Some(most)));
            if self.echo {
                let logprobs = most.map(|most| {
                    let mut logprobs = Logprobs::default();
                    logprobs.push_prompt(completed.prompt, most);
                    logprobs
                });
                frames.push(chunks.chunk(part(&completed.prompt.text, logprobs)));
            }
            let said = &completed.said;
            let before = completed.prompt.text.chars().count();
            for token in echo::answer_tokens(said) {
                let logprobs = most.map(|most| Logprobs::of_token(said, token, most, before));
                frames.push(chunks.chunk(part(said.answer_piece(token), logprobs)));
            }
            let written = if self.echo { completed.prompt.text.len() } else { 0 };
            let rest = &completed.text[written + said.text().len()..];
            frames.push(chunks.chunk(TextChoice {
                finish_reason: Some(finish_reason(said.end, completed.filtered)),
                stop_reason: self.stop_reason(said),
                ..part(rest, None)
            }));
        }
        chunks.end(usage, &mut frames);
        frames
    }
}
