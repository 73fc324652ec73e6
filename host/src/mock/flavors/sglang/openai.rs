//! SGLang's OpenAI-shaped routes (python/sglang/srt/entrypoints/openai/protocol.py): the stop text is trimmed, a
//! completion can echo its prompt with log-probabilities.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    CONTEXT, MODEL, Sglang, bad_request, ids, read,
    request::Ids,
    sampling::{Handed, Sampling},
};
use crate::mock::{
    exchange::{Answer, Asked, Wire},
    flavors::compatible::{
        Logprobs, Matched, Message, OneOrMany, Served, StreamOptions, TextLogprobs, Told, Usage,
        chat_logprobs, text_of,
    },
    model::{BOS, Context, End, Prompt, Said, Turn, decode},
    server::Mock,
};

const SERVED: Served<'static> =
    Served { id: "mock", model: MODEL, system_fingerprint: None, unfinished: None };

/// Body of `/v1/chat/completions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chat<'a> {
    #[serde(rename = "model", default)]
    _model: Option<String>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<usize>,
    #[serde(alias = "max_completion_tokens", default)]
    max_tokens: Option<usize>,
    #[serde(rename = "response_format", default)]
    _response_format: Option<IgnoredAny>,
    #[serde(rename = "tools", default)]
    _tools: Option<IgnoredAny>,
    #[serde(rename = "tool_choice", default)]
    _tool_choice: Option<IgnoredAny>,
    #[serde(rename = "chat_template_kwargs", default)]
    _chat_template_kwargs: Option<IgnoredAny>,
    #[serde(rename = "separate_reasoning", default)]
    _separate_reasoning: Option<bool>,
    #[serde(rename = "continue_final_message", default)]
    _continue_final_message: Option<bool>,
    #[serde(rename = "reasoning_effort", default)]
    _reasoning_effort: Option<String>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(rename = "top_k", default)]
    _top_k: Option<i64>,
    #[serde(rename = "min_p", default)]
    _min_p: Option<f64>,
    #[serde(default)]
    frequency_penalty: Option<f64>,
    #[serde(default)]
    presence_penalty: Option<f64>,
    #[serde(rename = "repetition_penalty", default)]
    _repetition_penalty: Option<f64>,
    #[serde(default)]
    stop: Option<OneOrMany<String>>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    no_stop_trim: Option<bool>,
    #[serde(default)]
    ignore_eos: Option<bool>,
    #[serde(rename = "user", default)]
    _user: Option<String>,
}

/// Body of `/v1/completions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion<'a> {
    #[serde(rename = "model", default)]
    _model: Option<String>,
    #[serde(borrow)]
    prompt: TextsOrIds<'a>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    logprobs: Option<usize>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(rename = "top_k", default)]
    _top_k: Option<i64>,
    #[serde(rename = "min_p", default)]
    _min_p: Option<f64>,
    #[serde(default)]
    frequency_penalty: Option<f64>,
    #[serde(default)]
    presence_penalty: Option<f64>,
    #[serde(rename = "repetition_penalty", default)]
    _repetition_penalty: Option<f64>,
    #[serde(default)]
    stop: Option<OneOrMany<String>>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    no_stop_trim: Option<bool>,
    #[serde(default)]
    ignore_eos: Option<bool>,
    #[serde(rename = "user", default)]
    _user: Option<String>,
}

/// A prompt in any of its four forms.
#[derive(Debug)]
enum TextsOrIds<'a> {
    Texts(OneOrMany<Cow<'a, str>>),
    Ids(Ids),
}

impl<'de: 'a, 'a> Deserialize<'de> for TextsOrIds<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        let misfit = |error: serde_json::Error| serde::de::Error::custom(error);
        let is_text = raw.trim_start_matches(['[', ' ', '\n']).starts_with('"');
        if is_text {
            serde_json::from_str(raw).map(Self::Texts).map_err(misfit)
        } else {
            serde_json::from_str(raw).map(Self::Ids).map_err(misfit)
        }
    }
}

/// `/v1/chat/completions`.
pub(super) async fn chat(wire: &Sglang, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let request: Chat<'_> = read(asked)?;
    if request.messages.is_empty() {
        return Err(bad_request("Messages cannot be empty."));
    }
    let turns: Vec<Turn<'_>> = request.messages.into_iter().map(Into::into).collect();
    let prompt = Prompt::Chat(turns);
    let (_, given) = prompt.read();
    let sampling = Sampling::from(Handed {
        // What fits, where a chat does not say.
        max_new_tokens: Some(request.max_tokens.unwrap_or(CONTEXT.saturating_sub(given))),
        temperature: request.temperature,
        top_p: request.top_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        stop: request.stop,
        seed: request.seed,
        n: request.n,
        no_stop_trim: request.no_stop_trim,
        ignore_eos: request.ignore_eos,
    });
    check(&sampling, given)?;
    let mut said = Vec::with_capacity(sampling.n());
    for choice in 0..sampling.n() {
        let answer = mock.say(&sampling.ask(prompt.clone(), choice)).await;
        said.push(answer.map_err(|trouble| wire.trouble(asked, &trouble))?);
    }
    let stops = sampling.stops();
    let top = request.top_logprobs.unwrap_or(0);
    let told: Vec<Told<'_>> = said
        .iter()
        .enumerate()
        .map(|(index, said)| Told {
            logprobs: (request.logprobs == Some(true)).then(|| chat_logprobs(said, top, true)),
            ..told(index, said, &sampling, &stops)
        })
        .collect();
    let usage = Usage::of(&told, sampling.n());
    Ok(if request.stream {
        let wanted = request.stream_options.is_some_and(|options| options.include_usage);
        SERVED.chat_stream(&told, wanted.then_some(usage))
    } else {
        SERVED.chat(&told, usage)
    })
}

/// `/v1/completions`.
pub(super) async fn completion(
    wire: &Sglang,
    asked: &Asked<'_>,
    mock: &Mock,
) -> Result<Answer, Answer> {
    let request: Completion<'_> = read(asked)?;
    let prompts: Vec<(Cow<'_, str>, Vec<u32>)> = match request.prompt {
        TextsOrIds::Texts(texts) => {
            texts.into_vec().into_iter().map(|text| (text.clone(), ids(&text, true))).collect()
        }
        TextsOrIds::Ids(Ids::One(ids)) => vec![(text(&ids), ids)],
        TextsOrIds::Ids(Ids::Many(lists)) => {
            lists.into_iter().map(|ids| (text(&ids), ids)).collect()
        }
    };
    let sampling = Sampling::from(Handed {
        max_new_tokens: Some(request.max_tokens.unwrap_or(16)),
        temperature: request.temperature,
        top_p: request.top_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        stop: request.stop,
        seed: request.seed,
        n: request.n,
        no_stop_trim: request.no_stop_trim,
        ignore_eos: request.ignore_eos,
    });
    let mut said = Vec::with_capacity(prompts.len());
    for (prompt, ids) in &prompts {
        check(&sampling, ids.len())?;
        for choice in 0..sampling.n() {
            let ask = sampling.ask(Prompt::Text(Cow::Borrowed(&**prompt)), choice);
            let answer = mock.say(&ask).await;
            let mut answer = answer.map_err(|trouble| wire.trouble(asked, &trouble))?;
            answer.prompt_tokens = ids.len();
            said.push(answer);
        }
    }
    let stops = sampling.stops();
    let answers = said.iter().enumerate().map(|(index, said)| {
        let mut told = told(index, said, &sampling, &stops);
        let prompt = prompts.get(index / sampling.n());
        if let Some((prompt, _)) = prompt.filter(|_| request.echo) {
            told.text = format!("{prompt}{}", told.text).into();
        }
        if let Some(top) = request.logprobs {
            // 0 reads as false there, so that an echo has no log-probabilities of the prompt.
            let echoed = prompt.filter(|_| request.echo && top > 0).map(|(_, ids)| ids.as_slice());
            told.logprobs = Some(Logprobs::Text(text_logprobs(echoed, said, top)));
        }
        told
    });
    let told: Vec<Told<'_>> = answers.collect();
    let usage = Usage::of(&told, sampling.n());
    Ok(if request.stream {
        let wanted = request.stream_options.is_some_and(|options| options.include_usage);
        SERVED.completion_stream(&told, wanted.then_some(usage))
    } else {
        SERVED.completion(&told, usage)
    })
}

fn check(sampling: &Sampling, given: usize) -> Result<(), Answer> {
    sampling.check().map_err(|message| bad_request(&message))?;
    let most = sampling.max_new_tokens();
    if given >= CONTEXT || given + most > CONTEXT {
        return Err(bad_request(&format!(
            "Requested token count exceeds the model's maximum context length of {CONTEXT} tokens. You requested a \
             total of {} tokens: {given} tokens from the input messages and {most} tokens for the completion.",
            given + most
        )));
    }
    Ok(())
}

fn text(ids: &[u32]) -> Cow<'static, str> {
    let mut text = String::new();
    ids.iter().filter(|id| **id != BOS).for_each(|id| decode(*id, &mut text));
    Cow::Owned(text)
}

fn told<'a>(index: usize, said: &'a Said, sampling: &Sampling, stops: &'a [String]) -> Told<'a> {
    let (finish_reason, matched) = match said.end {
        End::Eos => ("stop", said.tokens.last().map(|token| Matched::Token(token.id))),
        End::Stop(number) => ("stop", stops.get(number).map(|stop| Matched::Text(stop))),
        End::Length => ("length", None),
    };
    let text = if sampling.keeps_stop() { said.with_stop() } else { said.text() };
    Told {
        index,
        said,
        text: text.into(),
        finish_reason,
        matched_stop: Some(matched.unwrap_or(Matched::Nothing)),
        logprobs: None,
    }
}

/// Lists over the prompt, if it is echoed, and the answer. SGLang leaves the offsets at -1.
fn text_logprobs<'a>(echoed: Option<&[u32]>, said: &'a Said, top: usize) -> TextLogprobs<'a> {
    let mut lists = TextLogprobs::default();
    let mut push = |token: Cow<'a, str>, logprob: Option<f64>, best: Vec<(u32, f64)>| {
        let best: Map<String, Value> =
            best.into_iter().map(|(id, logprob)| (text_of(id), logprob.into())).collect();
        lists.top_logprobs.push(logprob.map(|_| best));
        lists.tokens.push(token);
        lists.token_logprobs.push(logprob);
        lists.text_offset.push(-1);
    };
    let mut context = Context::new();
    for (at, id) in echoed.unwrap_or_default().iter().enumerate() {
        let logprob = (at > 0).then(|| context.logprob(*id));
        push(Cow::Owned(text_of(*id)), logprob, context.alternatives(context.top(), top));
        context.push(*id);
    }
    for token in &said.tokens {
        let text = if token.special() { "</s>" } else { said.piece(token) };
        push(Cow::Borrowed(text), Some(token.logprob()), token.alternatives(top));
    }
    lists
}
