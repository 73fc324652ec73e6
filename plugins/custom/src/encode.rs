//! A request of the host as the variables of the body template, and what of it the template leaves out.
//!
//! Pure. Knows the template, not the server.

use plugin_api::{Changed, Error, ErrorKind, Generate, Part, Prompt, Result};

use minijinja::{Value, value::Serde};

use crate::template::{KEY, RenderError, Template};

/// A generation translated, but for what differs from call to call.
#[derive(Debug)]
pub struct Generation<'a> {
    template: &'a Template,
    variables: Vec<(&'static str, Value)>,
    /// The stop texts to cut the answer at, also those that the server does not get.
    pub stop: Vec<&'a str>,
    /// Parameters that are not sent or not sent as they were given.
    pub changed: Vec<Changed>,
    seed: Option<u64>,
    n: u32,
}

/// One request for some of the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Number of the first choice.
    pub first: u32,
    /// Number of choices.
    pub n: u32,
    /// Whether it is streamed.
    pub stream: bool,
}

impl<'a> Generation<'a> {
    /// Translates a request. `model` is the configured one, `max_stop` the most stop texts that the server takes,
    /// `has_logprobs` whether the configuration says where log-probabilities are.
    ///
    /// # Errors
    /// `unsupported` for chat messages where the template takes a text, and for images.
    pub fn new(
        template: &'a Template,
        model: Option<&'a str>,
        max_stop: Option<usize>,
        has_logprobs: bool,
        request: &'a Generate<'_>,
    ) -> Result<Self> {
        let mut changed = Vec::new();
        let stop = stop(template, max_stop, request, &mut changed);
        let sent = stop.iter().copied().take(max_stop.unwrap_or(usize::MAX));
        let mut variables = prompt(template, &request.prompt)?;
        variables.extend([
            ("model", Value::from(model)),
            ("max_tokens", Value::from(request.max_tokens)),
            ("temperature", Value::from(request.temperature)),
            ("top_p", Value::from(request.top_p)),
            ("top_k", Value::from(request.top_k)),
            ("logprobs", Value::from(request.logprobs)),
            ("stop", sent.map(Value::from).collect()),
            ("extra", Value::from(Serde(&request.extra))),
        ]);
        for (parameter, given) in [
            ("max_tokens", request.max_tokens.is_some()),
            ("temperature", request.temperature.is_some()),
            ("top_p", request.top_p.is_some()),
            ("top_k", request.top_k.is_some()),
            ("seed", request.seed.is_some()),
            ("logprobs", request.logprobs.is_some()),
        ] {
            if given && !template.mentions(parameter) {
                changed.push(not_mentioned(parameter));
            }
        }
        if request.logprobs.is_some() && !has_logprobs && template.mentions("logprobs") {
            let detail = "not read: the configuration has no `reply.logprobs`";
            changed.push(change("logprobs", detail.to_owned()));
        }
        let extra = request.extra.iter().filter(|(_, value)| !value.is_null());
        changed.extend(
            extra
                .map(|(name, _)| name)
                .filter(|name| !template.mentions_extra(name))
                .map(|name| not_mentioned(name)),
        );
        let n = request.n.max(1);
        Ok(Self { template, variables, stop, changed, seed: request.seed, n })
    }

    /// The requests for all choices: one, if the template mentions `n`, else one a choice. A stream carries one
    /// choice, and deltas are an item's and not a choice's, so only the first choice is streamed.
    pub fn calls(&self, stream: bool) -> Vec<Call> {
        if self.template.mentions("n") && !stream {
            return vec![Call { first: 0, n: self.n, stream: false }];
        }
        (0..self.n).map(|first| Call { first, n: 1, stream: stream && first == 0 }).collect()
    }

    /// The body of one request.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub fn body(
        &self,
        call: Call,
        request_id: &str,
        attempt: u32,
    ) -> std::result::Result<String, RenderError> {
        // Choices that are asked for one by one would all be the same with the same seed.
        let seed = self.seed.map(|seed| seed.wrapping_add(u64::from(call.first)));
        let of_call = [
            ("seed", Value::from(seed)),
            ("n", Value::from(call.n)),
            ("stream", Value::from(call.stream)),
            ("request_id", Value::from(request_id)),
            ("attempt", Value::from(attempt)),
        ];
        let variables = self.variables.iter().cloned().chain(of_call);
        self.template.render(Value::from_pairs(variables))
    }
}

/// A rendering's failure as the host is told.
pub fn refused(error: &RenderError) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("{KEY}: {}", error.message))
}

/// Whether a body has a place for a text alone, and none for messages.
pub fn is_text_only(template: &Template) -> bool {
    template.mentions("prompt") && !template.mentions("messages")
}

/// The variables that hold the prompt.
fn prompt(template: &Template, prompt: &Prompt<'_>) -> Result<Vec<(&'static str, Value)>> {
    let messages = match prompt {
        Prompt::Text(text) => {
            return Ok(vec![
                ("prompt", Value::from(*text)),
                ("messages", Value::from(vec![message("user", text)])),
                ("system", Value::from(())),
            ]);
        }
        Prompt::Messages(messages) => messages,
    };
    if is_text_only(template) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{KEY} uses `prompt`, which chat messages have not: use `messages` in it, or ask in plain text"
            ),
        ));
    }
    if messages.iter().flat_map(|m| &m.content).any(|part| matches!(part, Part::Image { .. })) {
        return Err(Error::unsupported("images in chat messages"));
    }
    let mut list = Vec::with_capacity(messages.len());
    let mut system: Vec<String> = Vec::new();
    for one in messages {
        let text = one.as_text().unwrap_or_default();
        if one.role == "system" {
            system.push(text.clone().into_owned());
        }
        list.push(message(&one.role, &text));
    }
    let system = (!system.is_empty()).then(|| system.join("\n\n"));
    Ok(vec![("messages", Value::from(list)), ("system", Value::from(system))])
}

fn message(role: &str, content: &str) -> Value {
    Value::from_pairs([("role", role), ("content", content)])
}

/// The stop texts that the answer is cut at.
fn stop<'a>(
    template: &Template,
    max_stop: Option<usize>,
    request: &'a Generate<'_>,
    changed: &mut Vec<Changed>,
) -> Vec<&'a str> {
    let stop: Vec<&str> =
        request.stop.iter().map(|stop| &**stop).filter(|stop| !stop.is_empty()).collect();
    if stop.len() < request.stop.len() {
        let detail = "empty stop texts dropped: they would end every answer";
        changed.push(change("stop", detail.to_owned()));
    }
    match max_stop {
        _ if stop.is_empty() => {}
        _ if !template.mentions("stop") => {
            let detail = format!("not sent: {KEY} does not mention it; the answer is cut at it");
            changed.push(change("stop", detail));
        }
        Some(most) if stop.len() > most => {
            let detail = format!(
                "only the first {most} of {} were sent, the server takes no more; the answer is cut at all \
                 of them",
                stop.len()
            );
            changed.push(change("stop", detail));
        }
        _ => {}
    }
    stop
}

fn not_mentioned(parameter: &str) -> Changed {
    change(parameter, format!("dropped: {KEY} does not mention it"))
}

fn change(parameter: &str, detail: String) -> Changed {
    Changed { parameter: parameter.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use plugin_api::Message;
    use serde_json::json;

    use super::*;

    fn request(prompt: Prompt<'_>) -> Generate<'_> {
        Generate::new(prompt)
    }

    fn rendered(source: &str, request: &Generate<'_>, call: Call) -> serde_json::Value {
        let template = Template::compile(source).unwrap();
        let generation = Generation::new(&template, Some("m"), Some(2), true, request).unwrap();
        serde_json::from_str(&generation.body(call, "id-1", 2).unwrap()).unwrap()
    }

    const ONE: Call = Call { first: 0, n: 1, stream: false };

    #[test]
    fn every_variable_has_the_requests_value_and_none_is_null() {
        let all = r#"{ "prompt": {{ prompt | tojson }}, "messages": {{ messages | tojson }}, "system": {{ system | tojson }},
            "model": {{ model | tojson }}, "max_tokens": {{ max_tokens | tojson }}, "temperature": {{ temperature | tojson }},
            "top_p": {{ top_p | tojson }}, "top_k": {{ top_k | tojson }}, "stop": {{ stop | tojson }}, "seed": {{ seed | tojson }},
            "n": {{ n }}, "logprobs": {{ logprobs | tojson }}, "stream": {{ stream | tojson }}, "extra": {{ extra | tojson }},
            "request_id": {{ request_id | tojson }}, "attempt": {{ attempt }} }"#;
        let bare = request(Prompt::Text("Q"));
        let messages = json!([{ "role": "user", "content": "Q" }]);
        assert_eq!(
            rendered(all, &bare, ONE),
            json!({ "prompt": "Q", "messages": messages, "system": null, "model": "m", "max_tokens": null,
                "temperature": null, "top_p": null, "top_k": null, "stop": [], "seed": null, "n": 1,
                "logprobs": null, "stream": false, "extra": {}, "request_id": "id-1", "attempt": 2 })
        );
        let extra = json!({ "min_p": 0.1, "deep": { "a": [1, null] } });
        let full = Generate {
            n: 3,
            max_tokens: Some(8),
            temperature: Some(0.0),
            top_p: Some(0.5),
            top_k: Some(4),
            stop: vec!["a".into(), "".into(), "b".into(), "c".into()],
            seed: Some(u64::MAX),
            logprobs: Some(0),
            stream: true,
            extra: extra.as_object().unwrap().clone(),
            ..bare
        };
        let call = Call { first: 1, n: 1, stream: true };
        assert_eq!(
            rendered(all, &full, call),
            json!({ "prompt": "Q", "messages": messages, "system": null, "model": "m", "max_tokens": 8,
                "temperature": 0.0, "top_p": 0.5, "top_k": 4, "stop": ["a", "b"], "seed": 0, "n": 1,
                "logprobs": 0, "stream": true, "extra": extra, "request_id": "id-1", "attempt": 2 })
        );
    }

    #[test]
    fn messages_come_with_their_system_text_apart() {
        let parts =
            Message { role: "user".into(), content: vec![Part::Text("a\""), Part::Text("b")] };
        let chat = vec![
            Message::text("system", "Be"),
            Message::text("system", "brief."),
            parts,
            Message::text("assistant", "The answer is"),
        ];
        let source = r#"[{{ system | tojson }}, {{ messages | rejectattr("role", "equalto", "system") | list | tojson }}]"#;
        assert_eq!(
            rendered(source, &request(Prompt::Messages(chat)), ONE),
            json!(["Be\n\nbrief.", [{ "role": "user", "content": "a\"b" },
                { "role": "assistant", "content": "The answer is" }]])
        );
    }

    #[test]
    fn what_the_template_cannot_carry_is_refused() {
        let template = Template::compile("{{ prompt | tojson }}").unwrap();
        let text = request(Prompt::Messages(vec![Message::text("user", "Q")]));
        let error = Generation::new(&template, None, None, false, &text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("`prompt`"), "{error}");

        let template = Template::compile("{{ messages | tojson }}").unwrap();
        let image = Part::Image { media_type: "image/png".into(), data: b"x" };
        let chat = vec![Message { role: "user".into(), content: vec![image] }];
        let image = request(Prompt::Messages(chat));
        let error = Generation::new(&template, None, None, false, &image).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }

    #[test]
    fn what_the_template_does_not_mention_is_recorded() {
        let full = Generate {
            max_tokens: Some(8),
            temperature: Some(0.0),
            top_p: Some(0.5),
            top_k: Some(4),
            stop: vec!["a".into()],
            seed: Some(1),
            logprobs: Some(0),
            extra: json!({ "min_p": 0.1, "none": null }).as_object().unwrap().clone(),
            ..request(Prompt::Text("Q"))
        };
        let changed = |source: &str, max_stop: Option<usize>, has_logprobs: bool| {
            let template = Template::compile(source).unwrap();
            let generation =
                Generation::new(&template, None, max_stop, has_logprobs, &full).unwrap();
            let names = generation.changed.iter().map(|changed| changed.parameter.clone());
            let stop = generation.stop.iter().map(|stop| (*stop).to_owned());
            (names.collect::<Vec<_>>(), stop.collect::<Vec<_>>())
        };
        let (names, stop) = changed("1", None, true);
        assert_eq!(
            names,
            ["stop", "max_tokens", "temperature", "top_p", "top_k", "seed", "logprobs", "min_p"]
        );
        assert_eq!(stop, ["a"]);
        let all =
            "{{ [stop, max_tokens, temperature, top_p, top_k, seed, logprobs, extra.min_p] }}";
        assert!(changed(all, None, true).0.is_empty());
        assert_eq!(changed(all, Some(0), false).0, ["stop", "logprobs"]);
        assert_eq!(changed(all, Some(0), false).1, ["a"]);
    }

    #[test]
    fn choices_are_asked_for_at_once_where_the_template_can() {
        let calls = |source: &str, stream: bool| {
            let template = Template::compile(source).unwrap();
            let request = Generate { n: 3, ..request(Prompt::Text("Q")) };
            Generation::new(&template, None, None, false, &request).unwrap().calls(stream)
        };
        assert_eq!(calls("{{ n }}", false), [Call { first: 0, n: 3, stream: false }]);
        let each = [0, 1, 2].map(|first| Call { first, n: 1, stream: false });
        assert_eq!(calls("1", false), each);
        let streamed = [0, 1, 2].map(|first| Call { first, n: 1, stream: first == 0 });
        assert_eq!(calls("{{ n }}", true), streamed);
        assert_eq!(calls("1", true), streamed);
    }
}
