//! TGI's OpenAI-shaped routes, with TGI's own habits: the stop text stays, a list of stop texts only, no `n`.

use super::{
    FINGERPRINT, MAX_TOTAL_TOKENS, MODEL, Tgi, read, refusal,
    reply::finish_reason,
    request::{Chat, Completion, Generate, MAX_BATCH, Parameters},
    say, validation,
};
use crate::mock::{
    exchange::{Answer, Asked},
    flavors::compatible::{Served, Told, Usage, chat_logprobs},
    model::{Ask, End, Prompt, Said, Stops, Turn},
    server::Mock,
};

const CHAT: Served<'static> =
    Served { id: "", model: MODEL, system_fingerprint: Some(FINGERPRINT), unfinished: None };

/// `/v1/chat/completions`.
pub(super) async fn chat(wire: &Tgi, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let request: Chat<'_> = read(asked)?;
    if let Some(adapter) = request.model.as_deref().filter(|model| !matches!(*model, "tgi" | MODEL))
    {
        return Err(validation(&format!("adapter `{adapter}` is not available")));
    }
    if request.messages.is_empty() {
        return Err(refusal(422, "Template error: no messages", "template_error"));
    }
    if request.top_logprobs.is_some() && request.logprobs != Some(true) {
        return Err(validation("`logprobs` must be true when `top_logprobs` is set"));
    }
    let turns: Vec<Turn<'_>> = request.messages.into_iter().map(Into::into).collect();
    let prompt = Prompt::Chat(turns);
    let (_, tokens) = prompt.read();
    let mut parameters = Parameters::at(request.temperature, request.frequency_penalty);
    parameters.max_new_tokens = request.max_tokens;
    parameters.top_p = request.top_p;
    parameters.seed = request.seed;
    parameters.stop = request.stop.unwrap_or_default().into_iter().map(Into::into).collect();
    parameters.top_n_tokens = request.top_logprobs;
    let said = generate(wire, asked, mock, prompt, &parameters, tokens).await?;
    let top = request.top_logprobs.unwrap_or(0) as usize;
    let told = [Told {
        index: 0,
        text: said.with_stop().into(),
        finish_reason: in_words(said.end),
        matched_stop: None,
        logprobs: (request.logprobs == Some(true)).then(|| chat_logprobs(&said, top, false)),
        said: &said,
    }];
    let usage = Usage::of(&told, 1);
    Ok(if request.stream {
        let wanted = request.stream_options.is_some_and(|options| options.include_usage);
        CHAT.chat_stream(&told, wanted.then_some(usage))
    } else {
        CHAT.chat(&told, usage)
    })
}

/// `/v1/completions`.
pub(super) async fn completion(
    wire: &Tgi,
    asked: &Asked<'_>,
    mock: &Mock,
) -> Result<Answer, Answer> {
    let request: Completion = read(asked)?;
    if request.suffix.is_some() {
        return Err(refusal(
            422,
            "Suffix is not supported and can be achieved by preprocessing the prompt.",
            "suffix not supported",
        ));
    }
    let prompts = request.prompt.into_vec();
    if prompts.len() > MAX_BATCH {
        let error =
            format!("Number of prompts exceeds the maximum allowed batch size of {MAX_BATCH}");
        return Err(refusal(422, &error, "batch size exceeded"));
    }
    let mut parameters = Parameters::at(request.temperature, request.frequency_penalty);
    parameters.max_new_tokens = request.max_tokens;
    parameters.top_p = request.top_p;
    parameters.seed = request.seed;
    parameters.stop = request.stop.unwrap_or_default().into_iter().map(Into::into).collect();
    let mut said = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let prompt = Prompt::Text(prompt.into());
        let (_, tokens) = prompt.read();
        said.push(generate(wire, asked, mock, prompt, &parameters, tokens).await?);
    }
    let mut told: Vec<Told<'_>> = said
        .iter()
        .enumerate()
        .map(|(index, said)| Told {
            index,
            text: said.with_stop().into(),
            finish_reason: if request.stream {
                finish_reason(said.end)
            } else {
                in_words(said.end)
            },
            matched_stop: None,
            logprobs: None,
            said,
        })
        .collect();
    // Choices come in the order in which they are done, and a client must not count on that of the prompts.
    told.reverse();
    let usage = Usage::of(&told, 1);
    let served = Served { unfinished: Some(""), ..CHAT };
    Ok(if request.stream {
        let wanted = request.stream_options.is_some_and(|options| options.include_usage);
        served.completion_stream(&told, wanted.then_some(usage))
    } else {
        served.completion(&told, usage)
    })
}

async fn generate(
    wire: &Tgi,
    asked: &Asked<'_>,
    mock: &Mock,
    prompt: Prompt<'_>,
    parameters: &Parameters<'_>,
    tokens: usize,
) -> Result<Said, Answer> {
    let inputs = match &prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(_) => "messages".into(),
    };
    Generate { inputs, parameters: parameters.clone(), stream: false }
        .check(tokens, false)
        .map_err(|complaint| validation(&complaint))?;
    let ask = Ask {
        max_tokens: Some(parameters.max_new_tokens.unwrap_or(MAX_TOTAL_TOKENS - tokens)),
        stop: parameters.stop.clone(),
        stops: Stops::AtEnd,
        temperature: Some(parameters.sampled_at()),
        top_p: parameters.top_p,
        frequency_penalty: parameters.frequency_penalty,
        seed: parameters.seed,
        ..Ask::new(prompt)
    };
    say(wire, asked, mock, &ask).await
}

/// Only the model's own end has the word that OpenAI uses.
const fn in_words(end: End) -> &'static str {
    match end {
        End::Eos => "stop",
        other => finish_reason(other),
    }
}
