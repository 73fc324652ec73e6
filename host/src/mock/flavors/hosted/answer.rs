//! `/chat/completions`: from the body to the reply.

use std::borrow::Cow;

use super::{
    ChatRequest, Dialect, Failure, Refusal, Tokens, echo,
    message::turns,
    reply::{
        CREATED, ChatChoice, ChatLogprobs, ChatMessage, ChunkChoice, Chunks, Delta, Reply, Usage,
        fingerprint, finish_reason, prompt_verdict, verdict, with_limits,
    },
    rules::{self, Shown},
    trouble,
};
use crate::mock::{
    exchange::Answer,
    flavors::{
        cue::{self, Filter},
        speak::{Spoken, speak},
        text::TextOr,
    },
    model::{Ask, End, Prompt, Said, cut_to_budget},
    server::Mock,
    strict,
};

const REFUSED: &str = "I'm sorry, but I can't help with that.";

/// Answers a chat. `deployment` is the model where the path names it.
pub(crate) async fn chat(
    dialect: Dialect,
    deployment: Option<&str>,
    body: &[u8],
    mock: &Mock,
) -> Answer {
    let mut request = match strict::read::<ChatRequest<'_>>(body) {
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

/// What the choices are made of.
struct Spoke<'a> {
    dialect: Dialect,
    choices: Vec<Spoken>,
    shown: Shown,
    stops: Vec<Cow<'a, str>>,
    with_stop: bool,
    /// How many alternatives, if log-probabilities are wanted.
    logprobs: Option<usize>,
    filter: Option<Filter>,
}

async fn answer(
    dialect: Dialect,
    model: &str,
    mut request: ChatRequest<'_>,
    mock: &Mock,
) -> Result<Answer, Failure> {
    let vllm = dialect == Dialect::Vllm;
    request.check(vllm)?;
    let (model, provider) = match dialect {
        Dialect::HuggingFace => rules::routed(model).map(|(model, name)| (model, Some(name)))?,
        _ => (model, None),
    };
    rules::check(dialect, model, &request)?;
    if cue::is_missing(model) {
        return Err(Refusal::missing_model(dialect, model).into());
    }
    let thinking = rules::thinking(dialect, model, &request);
    let prompt = Prompt::Chat(turns(std::mem::take(&mut request.messages))?);
    let (context, prompt_tokens) = prompt.read();
    // vLLM alone counts what has still to be said.
    let wanted = if vllm { request.budget().unwrap_or(0) } else { 0 };
    let total = prompt_tokens.saturating_add(wanted);
    if total > dialect.context() {
        return Err(Refusal::context_length(dialect.context(), total, "messages").into());
    }
    let filter = cue::filter(&prompt).filter(|_| !vllm);
    if filter == Some(Filter::Prompt)
        && let Some(refused) = dialect.refuse_filtered(true)
    {
        return Ok(refused);
    }
    let prompt_logprobs = request.prompt_logprobs.map(|most| {
        let Prompt::Chat(turns) = &prompt else { return Vec::new() };
        let text: String = turns.iter().map(|turn| &*turn.content).collect();
        echo::prompt_logprobs(&Tokens::of_text(&text, true), most)
    });
    let count = usize::try_from(request.n.unwrap_or(1)).unwrap_or(1);
    let stops = request.stop.take().map_or_else(Vec::new, TextOr::into_list);
    let ask = Ask {
        max_tokens: request.budget(),
        min_tokens: least(request.min_tokens, request.ignore_eos, request.budget()),
        stop: stops.clone(),
        temperature: request.temperature,
        top_p: request.top_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        seed: request.seed.map(i64::cast_unsigned),
        ..Ask::new(prompt)
    };
    let mut spoke = Spoke {
        dialect,
        choices: Vec::with_capacity(count),
        shown: if request.include_reasoning == Some(false) {
            Shown::Nowhere
        } else {
            thinking.shown
        },
        stops,
        with_stop: request.include_stop_str_in_output == Some(true),
        logprobs: (request.logprobs == Some(true)).then(|| least_usize(request.top_logprobs)),
        filter,
    };
    for choice in 0..count as u64 {
        let mut spoken = speak(mock, Ask { choice, ..ask.clone() }, thinking.tokens).await?;
        if filter == Some(Filter::Answer) {
            let half = spoken.said.tokens.len() / 2;
            cut_to_budget(&mut spoken.said, half);
        }
        spoke.choices.push(spoken);
    }
    let answered = spoke.choices.iter().map(|spoken| spoken.said.completion_tokens).sum();
    let thought = spoke.choices.iter().map(Spoken::thought_tokens).sum();
    let prompt_tokens =
        spoke.choices.first().map_or(prompt_tokens, |spoken| spoken.said.prompt_tokens);
    let usage = Usage::new(dialect, prompt_tokens, answered, thought);
    let id = format!("chatcmpl-{:016x}", context.number());
    let answer = if request.streams() {
        let object = "chat.completion.chunk";
        let chunks = Chunks { dialect, id: &id, object, model, usage: request.streams_usage() };
        Answer::events(spoke.frames(&chunks, usage))
    } else {
        let mut choices: Vec<ChatChoice<'_>> =
            spoke.choices.iter().enumerate().map(|(at, spoken)| spoke.choice(at, spoken)).collect();
        // Their order is no promise, so a client has to go by their numbers.
        choices.reverse();
        Answer::json(
            200,
            &Reply {
                id: &id,
                object: "chat.completion",
                created: CREATED,
                model,
                system_fingerprint: fingerprint(dialect),
                choices,
                usage: Some(Some(usage)),
                prompt_filter_results: (dialect == Dialect::Azure).then(prompt_verdict),
                prompt_logprobs,
            },
        )
    };
    let answer = with_limits(dialect, answer, &id, usage);
    Ok(match provider {
        Some(provider) => answer.with("x-inference-provider", provider),
        None => answer,
    })
}

/// Least tokens: those asked for; or the whole budget where the model's end does not count, but not without end.
pub(super) fn least(min: Option<i64>, ignore_eos: Option<bool>, budget: Option<usize>) -> usize {
    match (ignore_eos, budget) {
        (Some(true), Some(budget)) => budget,
        (Some(true), None) => 256,
        _ => least_usize(min),
    }
}

pub(super) fn least_usize(number: Option<i64>) -> usize {
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

impl Spoke<'_> {
    fn text<'s>(&self, said: &'s Said) -> &'s str {
        if self.with_stop { said.with_stop() } else { said.text() }
    }

    /// vLLM tells what ended an answer.
    fn stop_reason(&self, said: &Said) -> Option<Option<&str>> {
        (self.dialect == Dialect::Vllm).then(|| match said.end {
            End::Stop(number) => self.stops.get(number).map(|stop| &**stop),
            End::Eos | End::Length => None,
        })
    }

    fn shown<'s>(&self, spoken: &'s Spoken) -> (Option<&'s str>, Option<&'s str>) {
        let thoughts = spoken.thoughts.as_ref().map(Said::text);
        match self.shown {
            Shown::Nowhere => (None, None),
            Shown::ReasoningContent => (thoughts, None),
            Shown::Reasoning => (None, thoughts),
        }
    }

    fn verdict(&self) -> Option<serde_json::Value> {
        let filtered = self.filter == Some(Filter::Answer);
        (self.dialect == Dialect::Azure).then(|| verdict(filtered))
    }

    fn choice<'s>(&'s self, index: usize, spoken: &'s Spoken) -> ChatChoice<'s> {
        let said = &spoken.said;
        let refused = self.filter == Some(Filter::Prompt);
        let (reasoning_content, reasoning) = self.shown(spoken);
        let text = self.text(said);
        // vLLM has nothing where thinking left nothing; the others have an empty text.
        let empty = self.dialect == Dialect::Vllm && text.is_empty() && spoken.thoughts.is_some();
        ChatChoice {
            index,
            message: ChatMessage {
                role: "assistant",
                content: (!refused && !empty).then_some(text),
                refusal: refused.then_some(REFUSED),
                reasoning_content,
                reasoning,
            },
            logprobs: self.logprobs.filter(|_| !refused).map(|top| ChatLogprobs::all(said, top)),
            finish_reason: self.finish_reason(said),
            stop_reason: self.stop_reason(said),
            content_filter_results: self.verdict(),
        }
    }

    fn finish_reason(&self, said: &Said) -> &'static str {
        match self.filter {
            Some(Filter::Prompt) => "stop",
            Some(Filter::Answer) => finish_reason(said.end, true),
            None => finish_reason(said.end, false),
        }
    }

    fn frames(&self, chunks: &Chunks<'_>, usage: Usage) -> Vec<Vec<u8>> {
        let mut frames = Vec::with_capacity(usage.completion_tokens + 4);
        frames.extend(chunks.first());
        for (index, spoken) in self.choices.iter().enumerate() {
            self.choice_frames(index, spoken, chunks, &mut frames);
        }
        chunks.end(usage, &mut frames);
        frames
    }

    fn choice_frames(
        &self,
        index: usize,
        spoken: &Spoken,
        chunks: &Chunks<'_>,
        frames: &mut Vec<Vec<u8>>,
    ) {
        let said = &spoken.said;
        let part = |delta, logprobs, end: Option<&'static str>| {
            chunks.chunk(ChunkChoice {
                index,
                delta,
                logprobs,
                finish_reason: end,
                stop_reason: end.and_then(|_| self.stop_reason(said)),
                content_filter_results: self.verdict(),
            })
        };
        let role = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
        frames.push(part(Delta { refusal: Some(None), ..role }, None, None));
        if self.shown != Shown::Nowhere
            && let Some(thoughts) = &spoken.thoughts
        {
            for token in &thoughts.tokens {
                let text = Some(thoughts.piece(token));
                frames.push(part(
                    match self.shown {
                        Shown::Reasoning => Delta { reasoning: text, ..Delta::default() },
                        _ => Delta { reasoning_content: text, ..Delta::default() },
                    },
                    None,
                    None,
                ));
            }
        }
        if self.filter == Some(Filter::Prompt) {
            frames.push(part(
                Delta { refusal: Some(Some(REFUSED)), ..Delta::default() },
                None,
                None,
            ));
        } else {
            for token in echo::answer_tokens(said) {
                let logprobs =
                    self.logprobs.map(|top| ChatLogprobs::of(said, std::iter::once(token), top));
                let delta = Delta { content: Some(said.answer_piece(token)), ..Delta::default() };
                frames.push(part(delta, logprobs, None));
            }
            let rest = &self.text(said)[said.text().len()..];
            if !rest.is_empty() {
                frames.push(part(Delta { content: Some(rest), ..Delta::default() }, None, None));
            }
        }
        frames.push(part(Delta::default(), None, Some(self.finish_reason(said))));
    }
}
