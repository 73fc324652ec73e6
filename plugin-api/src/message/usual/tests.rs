//! Both ways of writing and reading, side by side.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{super::*, Reader};
use crate::testkit::Random;

const TEXTS: [&str; 7] =
    ["", "user", "a \"quoted\" one", "back\\slash", "line\nfeed", "é ü \u{1f600}", "\u{7f}\u{0}"];

fn text(random: &mut Random) -> Str<'static> {
    Str::from(*random.pick(&TEXTS).unwrap())
}

fn number(random: &mut Random) -> u64 {
    *random.pick(&[0, 1, 9, 10, 255, 65_535, u64::MAX]).unwrap()
}

fn small(random: &mut Random) -> u32 {
    *random.pick(&[0, 1, 10, u32::MAX]).unwrap()
}

fn float(random: &mut Random) -> f64 {
    *random.pick(&[0.0, -0.0, 0.1, 1.0, 1e300, 5e-324, 0.700_000_000_000_000_1]).unwrap()
}

fn span(random: &mut Random) -> Span {
    Span(random.below(3000), usize::MAX >> random.below(64))
}

fn maybe<T>(random: &mut Random, of: impl FnOnce(&mut Random) -> T) -> Option<T> {
    random.once_in(2).then(|| of(random))
}

fn some<T>(random: &mut Random, mut of: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.below(4)).map(|_| of(random)).collect()
}

fn prompt(random: &mut Random) -> PromptHead<'static> {
    if random.once_in(2) {
        return PromptHead::Text(span(random));
    }
    PromptHead::Messages(some(random, |random| MessageHead {
        role: text(random),
        content: some(random, |random| {
            if random.once_in(9) {
                PartHead::Image { media_type: text(random), data: span(random) }
            } else {
                PartHead::Text(span(random))
            }
        }),
    }))
}

fn request(random: &mut Random) -> RequestHead<'static> {
    match random.below(8) {
        0 => RequestHead::Health {},
        1 | 2 => RequestHead::Loglikelihood(LoglikelihoodHead {
            prompt: prompt(random),
            continuations: some(random, span),
            token_logprobs: random.once_in(2),
        }),
        _ => RequestHead::Generate(GenerateHead {
            prompt: prompt(random),
            n: small(random),
            max_tokens: maybe(random, small),
            temperature: maybe(random, float),
            top_p: maybe(random, float),
            top_k: maybe(random, small),
            stop: some(random, text),
            seed: maybe(random, number).map(Decimal),
            logprobs: maybe(random, small),
            stream: random.once_in(2),
            extra: if random.once_in(9) {
                [("a".to_owned(), json!([1, null]))].into_iter().collect()
            } else {
                serde_json::Map::new()
            },
        }),
    }
}

fn event(random: &mut Random) -> Event<'static> {
    match random.below(9) {
        0 => Event::Woken {},
        1..5 => Event::Reply(ReplyHead {
            call: Decimal(number(random)),
            status: u16::try_from(random.below(65_536)).unwrap(),
            headers: some(random, |random| (text(random), text(random))),
        }),
        _ => Event::Start(Start {
            request_id: text(random),
            attempt: small(random),
            deadline_ms: number(random),
            requests: some(random, request),
        }),
    }
}

fn action(random: &mut Random) -> Action<'static> {
    match random.below(9) {
        0 => Action::Wait(Wait { call: Decimal(number(random)), ms: number(random) }),
        1 => Action::Limits(Limits {
            requests_remaining: maybe(random, number),
            tokens_remaining: maybe(random, number),
            reset_ms: maybe(random, number),
        }),
        2..5 => Action::Http(Http {
            call: Decimal(number(random)),
            method: text(random),
            url: text(random),
            headers: some(random, |random| {
                let value = if random.once_in(2) {
                    HeaderValue::Text(text(random))
                } else {
                    HeaderValue::Parts(some(random, |random| {
                        let text = text(random);
                        let is_secret = random.once_in(2);
                        if is_secret { HeaderPart::Secret(text) } else { HeaderPart::Text(text) }
                    }))
                };
                (text(random), value)
            }),
            stream: random.once_in(2),
            timeout_ms: number(random),
            reply_headers: some(random, text),
        }),
        _ => Action::Done(Done { item: small(random), answer: answer(random) }),
    }
}

fn answer(random: &mut Random) -> AnswerHead<'static> {
    if random.once_in(9) {
        return AnswerHead::Tokens(vec![1]);
    }
    let logprob =
        |_: &mut Random| TokenLogprob { token: "a".into(), logprob: None, top: Vec::new() };
    let rarely = random.once_in(9);
    AnswerHead::Completion(CompletionHead {
        choices: some(random, |random| ChoiceHead {
            text: span(random),
            reasoning: maybe(random, span),
            finish_reason: FinishReason::from(
                *random.pick(&["stop", "length", "a \"new\" one"]).unwrap(),
            ),
            logprobs: rarely.then(|| some(random, logprob)),
        }),
        usage: Usage {
            prompt_tokens: maybe(random, number),
            completion_tokens: maybe(random, number),
            cached_tokens: maybe(random, number),
            reasoning_tokens: maybe(random, number),
            cost_usd_nanos: maybe(random, number),
        },
        model: maybe(random, text),
        changed: if rarely {
            vec![Changed { parameter: "a".into(), detail: "b".into() }]
        } else {
            Vec::new()
        },
    })
}

/// What a head says, however it is read, so that it can be compared.
fn said<T: Debug>(read: serde_json::Result<T>) -> Result<String, String> {
    read.map(|read| format!("{read:?}")).map_err(|error| error.to_string())
}

/// Both ways of writing and reading give the same; also of a head that is nearly right.
fn check<'a, T: Serialize + Deserialize<'a> + Debug>(
    random: &mut Random,
    value: &T,
    write: impl Fn(&T, &mut Vec<u8>) -> serde_json::Result<()>,
    same: impl Fn(&[u8]) -> (Result<String, String>, Result<String, String>),
) {
    let mut head = b"before".to_vec();
    write(value, &mut head).unwrap();
    let mut head = head.split_off("before".len());
    assert_eq!(String::from_utf8(head.clone()).unwrap(), serde_json::to_string(value).unwrap());
    let (read, by_serde) = same(&head);
    assert_eq!(read, by_serde);
    assert_eq!(read, Ok(format!("{value:?}")));
    let at = random.below(head.len());
    match random.below(4) {
        0 => head[at] = *random.pick(b"\"{}[]:,01-+.e \\\x01\xffntx").unwrap(),
        1 => drop(head.remove(at)),
        2 => head.insert(at, *random.pick(b"\"{}[],01-+. \\").unwrap()),
        _ => head.truncate(at),
    }
    let (read, by_serde) = same(&head);
    assert_eq!(read, by_serde, "{}", String::from_utf8_lossy(&head));
}

#[test]
fn heads_are_written_and_read_as_serde_does_it() {
    for seed in 0..20_000 {
        let random = &mut Random::new(seed);
        let (event, action) = (event(random), action(random));
        check(random, &event, Event::write, |head| {
            (said(Event::read(head)), said(crate::message::read::<Event<'_>>(head)))
        });
        check(random, &action, Action::write, |head| {
            (said(Action::read(head)), said(crate::message::read::<Action<'_>>(head)))
        });
    }
}

/// Whether the heads of these need no serde.
fn is_event(event: &Event<'_>) -> bool {
    let mut head = Vec::new();
    event.write(&mut head).unwrap();
    Reader::of(&head).and_then(Reader::event).is_some()
}

fn is_action(action: &Action<'_>) -> bool {
    let mut head = Vec::new();
    action.write(&mut head).unwrap();
    Reader::of(&head).and_then(Reader::action).is_some()
}

#[test]
fn what_is_met_a_sample_needs_no_serde() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let call = Decimal(number(random));
        let headers = vec![(Str::from("a"), Str::from("b"))];
        assert!(is_event(&Event::Reply(ReplyHead { call, status: 200, headers })));
        let content = vec![PartHead::Text(span(random))];
        let messages = vec![MessageHead { role: Str::from("user"), content }];
        let prompts = [PromptHead::Messages(messages), PromptHead::Text(span(random))];
        let generate = prompts.clone().map(|prompt| {
            RequestHead::Generate(GenerateHead {
                prompt,
                n: 1,
                max_tokens: Some(16),
                temperature: Some(float(random)),
                top_p: maybe(random, float),
                top_k: maybe(random, small),
                stop: vec![Str::from("a")],
                seed: maybe(random, number).map(Decimal),
                logprobs: maybe(random, small),
                stream: random.once_in(2),
                extra: serde_json::Map::new(),
            })
        });
        let score = prompts.map(|prompt| {
            RequestHead::Loglikelihood(LoglikelihoodHead {
                prompt,
                continuations: vec![span(random), span(random)],
                token_logprobs: random.once_in(2),
            })
        });
        for request in generate.into_iter().chain(score) {
            let (request_id, requests) = (Str::from("a/1"), vec![request]);
            let start = Start { request_id, attempt: 1, deadline_ms: 1, requests };
            assert!(is_event(&Event::Start(start)));
        }
        let choice = ChoiceHead {
            text: span(random),
            reasoning: maybe(random, span),
            finish_reason: FinishReason::Stop,
            logprobs: None,
        };
        let completion = CompletionHead {
            choices: vec![choice],
            usage: Usage { prompt_tokens: Some(number(random)), ..Usage::default() },
            model: Some(Str::from("m")),
            changed: Vec::new(),
        };
        let answer = AnswerHead::Completion(completion);
        assert!(is_action(&Action::Done(Done { item: 0, answer })));
        let tokens_remaining = Some(number(random));
        assert!(is_action(&Action::Limits(Limits { tokens_remaining, ..Limits::default() })));
    }
}
