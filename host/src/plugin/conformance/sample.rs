//! Requests of every kind that a plugin may be asked.

use plugin_api::{
    Generate, Loglikelihood, Message, Prompt, Request, Rolling, capability::Capability,
    manifest::Declared,
};

/// A kind of request, by the capability that it takes.
pub(super) struct Sample {
    /// What it is called.
    pub(super) name: &'static str,
    /// What a plugin declares that can answer it; none for what any can be asked.
    pub(super) takes: Option<Capability>,
    /// The request.
    pub(super) request: Request<'static>,
}

/// One request of every kind.
pub(super) fn samples(declared: &Declared) -> Vec<Sample> {
    let can = |capability: &Capability| declared.capabilities.contains(capability);
    let text = Prompt::Text("Q: Is grass green?\nA:");
    let messages =
        || vec![Message::text("system", "Be brief."), Message::text("user", "Is grass green?")];
    let prompt = |is_chat: bool| if is_chat { Prompt::Messages(messages()) } else { text.clone() };
    let streamed = Generate { stream: true, ..generate(prompt(!can(&Capability::Generate))) };
    let continuations = Loglikelihood {
        prompt: text.clone(),
        continuations: vec![" yes", " no, never"],
        token_logprobs: false,
    };
    let of = |name, takes, request| Sample { name, takes: Some(takes), request };
    let any = |name, request| Sample { name, takes: None, request };
    vec![
        of("generate", Capability::Generate, Request::Generate(generate(text.clone()))),
        of("chat", Capability::Chat, Request::Generate(generate(prompt(true)))),
        of("stream", Capability::Stream, Request::Generate(streamed)),
        of("loglikelihood", Capability::Loglikelihood, Request::Loglikelihood(continuations)),
        of(
            "loglikelihood_rolling",
            Capability::LoglikelihoodRolling,
            Request::Rolling(Rolling { text: "Grass is green." }),
        ),
        of("health", Capability::Health, Request::Health),
        of("tokenize", Capability::Tokenize, Request::Tokenize("Grass is green.")),
        of("render", Capability::Render, Request::Render(messages())),
        of("embed", Capability::Embed, Request::Embed(vec!["grass", "snow"])),
        any("describe", Request::Describe),
        any("prepare", Request::Prepare(Vec::new())),
        any("release", Request::Release(Vec::new())),
    ]
}

/// A generation of a few tokens.
pub(super) fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    let greedy = Some(0.0);
    Generate {
        max_tokens: Some(4),
        temperature: greedy,
        stop: vec!["\n".into()],
        ..Generate::new(prompt)
    }
}
