//! From a rendered sample to the requests that a plugin is given, and what the router is told of them. Borrows
//! everything.

use std::hash::{DefaultHasher, Hash, Hasher};

use plugin_api::{Answer, Generate, Loglikelihood, Message, Part, Prompt, Request, Rolling};

use crate::task::{
    generation::Generation,
    prompt::{self, Role},
    render::{Form, Rendered},
};

/// The requests of one sample: the main one, and for mutual information a second one without context.
pub fn requests<'a>(
    rendered: &'a Rendered,
    generation: Option<&'a Generation>,
    repeat: u32,
    stream: bool,
) -> Vec<Request<'a>> {
    match &rendered.form {
        Form::MultipleChoice(choice) => {
            let continuations: Vec<&str> =
                choice.continuations.iter().map(String::as_str).collect();
            let of = |prompt| {
                Request::Loglikelihood(Loglikelihood {
                    prompt,
                    continuations: continuations.clone(),
                    token_logprobs: false,
                })
            };
            let mut requests = vec![of(prompt(&rendered.prompt))];
            if choice.unconditional {
                requests.push(of(Prompt::Text("")));
            }
            requests
        }
        Form::Generate(_) => vec![Request::Generate(Generate {
            stream,
            ..generate(&rendered.prompt, generation, repeat)
        })],
        Form::Rolling { text } => vec![Request::Rolling(Rolling { text })],
    }
}

fn generate<'a>(
    prompt_of: &'a prompt::Prompt,
    generation: Option<&'a Generation>,
    repeat: u32,
) -> Generate<'a> {
    let mut request = Generate::new(prompt(prompt_of));
    if let Some(generation) = generation {
        request.n = generation.n.get();
        request.max_tokens = Some(generation.max_tokens);
        request.temperature = Some(generation.temperature);
        request.top_p = generation.top_p;
        request.top_k = generation.top_k;
        request.logprobs = generation.logprobs;
        request.stop = generation.stop.iter().map(|stop| stop.as_str().into()).collect();
        // Each repeat is a draw of its own, and so is each of its choices: what is asked for one by one takes the seeds
        // from this one on.
        let before = u64::from(repeat) * u64::from(request.n);
        request.seed = generation.seed.map(|seed| seed.wrapping_add(before));
        request.extra = generation.vendor.clone();
    }
    request
}

fn prompt(prompt: &prompt::Prompt) -> Prompt<'_> {
    match prompt {
        prompt::Prompt::Text(text) => Prompt::Text(text),
        prompt::Prompt::Chat(chat) => {
            let mut messages: Vec<Message<'_>> = chat
                .messages
                .iter()
                .map(|message| Message::text(role(message.role), &message.text))
                .collect();
            if let Some(prefix) = &chat.generation_prefix {
                messages
                    .push(Message { role: "assistant".into(), content: vec![Part::Text(prefix)] });
            }
            Prompt::Messages(messages)
        }
    }
}

/// Bytes of a token, roughly: enough to know when a rate is near its bound.
const BYTES_A_TOKEN: u64 = 4;

/// A number that requests with the same context share.
pub fn prefix(request: &Request<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts(request, &mut |text| text.hash(&mut hasher));
    hasher.finish()
}

/// Tokens that a request may take, as far as can be told before it is asked: those of its texts, and the most that it
/// may generate.
pub fn tokens_wanted(request: &Request<'_>) -> u64 {
    let mut bytes = 0;
    texts(request, &mut |text| bytes += text.len() as u64);
    let generated = match request {
        Request::Generate(generate) => {
            u64::from(generate.max_tokens.unwrap_or(0)) * u64::from(generate.n)
        }
        _ => 0,
    };
    bytes / BYTES_A_TOKEN + generated
}

/// Tokens that an answer took; 0 if the backend does not count them.
pub fn tokens_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Completion(completion) => {
            let usage = &completion.usage;
            usage.prompt_tokens.unwrap_or(0).saturating_add(usage.completion_tokens.unwrap_or(0))
        }
        Answer::Likelihoods(likelihoods) => {
            likelihoods.iter().filter_map(|likelihood| likelihood.prompt_tokens).sum()
        }
        _ => 0,
    }
}

/// The context of a request, piece by piece.
fn texts(request: &Request<'_>, each: &mut dyn FnMut(&str)) {
    let prompt = match request {
        Request::Generate(generate) => &generate.prompt,
        Request::Loglikelihood(likelihood) => &likelihood.prompt,
        Request::Rolling(rolling) => return each(rolling.text),
        _ => return,
    };
    match prompt {
        Prompt::Text(text) => each(text),
        Prompt::Messages(messages) => {
            for part in messages.iter().flat_map(|message| &message.content) {
                if let Part::Text(text) = part {
                    each(text);
                }
            }
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}
