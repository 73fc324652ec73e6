//! What may be kept, and how it is written: the answers of one sample as bytes with a checksum. Pure.
//!
//! An entry is CRC-32C of the rest (`u32` LE), then for each answer the length of its head and of its body (`u32` LE
//! each), its head (JSON, as the contract has it) and its body.

use std::borrow::Cow;

use plugin_api::{
    Answer, Choice, FinishReason, Likelihood, Request,
    message::{self, AnswerHead},
};

use crate::secret::Redactor;

/// Whether these are answers to these requests that may stand for the model's in another run: whole, of the shape
/// that was asked for, and neither a failure nor a refusal.
pub(super) fn is_kept(requests: &[Request<'_>], answers: &[Answer]) -> bool {
    let mut pairs = requests.iter().zip(answers);
    !answers.is_empty()
        && requests.len() == answers.len()
        && pairs.all(|(request, answer)| match (request, answer) {
            (Request::Generate(generate), Answer::Completion(completion)) => {
                completion.choices.len() == generate.n as usize
                    && completion.choices.iter().all(is_whole)
            }
            (Request::Loglikelihood(request), Answer::Likelihoods(likelihoods)) => {
                likelihoods.len() == request.continuations.len()
                    && likelihoods.iter().all(is_finite)
            }
            (Request::Rolling(_), Answer::Likelihoods(likelihoods)) => {
                likelihoods.len() == 1 && likelihoods.iter().all(is_finite)
            }
            _ => false,
        })
}

/// Whether the model ended the choice itself, or at a stop text, and said something. An answer that is empty may be
/// a server's slip, or a budget that went into reasoning.
fn is_whole(choice: &Choice) -> bool {
    choice.finish_reason == FinishReason::Stop && !choice.text.trim().is_empty()
}

fn is_finite(likelihood: &Likelihood) -> bool {
    likelihood.tokens > 0 && likelihood.logprob.is_some_and(f64::is_finite)
}

/// The entry of these answers. None if a secret is in them: without it they would not be the answers any more.
pub(super) fn write(answers: &[Answer], redactor: &Redactor) -> Option<Vec<u8>> {
    let mut entry = vec![0; 4];
    let mut body = Vec::new();
    for answer in answers {
        body.clear();
        let head = serde_json::to_string(&answer.clone().put(&mut body)).ok()?;
        let text = std::str::from_utf8(&body).ok()?;
        for written in [&head, text] {
            if let Cow::Owned(_) = redactor.redact(written) {
                return None;
            }
        }
        for part in [head.as_bytes(), &body] {
            entry.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
        }
        entry.extend_from_slice(head.as_bytes());
        entry.extend_from_slice(&body);
    }
    let checksum = crc32c::crc32c(entry.get(4..)?);
    entry.get_mut(..4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(entry)
}

/// The answers of an entry, which cost nothing again. None if it is damaged.
pub(super) fn read(entry: &[u8]) -> Option<Vec<Answer>> {
    let (checksum, mut rest) = number(entry)?;
    if crc32c::crc32c(rest) != checksum {
        return None;
    }
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (head_length, after) = number(rest)?;
        let (body_length, after) = number(after)?;
        let (head, after) = after.split_at_checked(head_length as usize)?;
        let (body, after) = after.split_at_checked(body_length as usize)?;
        let head: AnswerHead<'_> = message::read(head).ok()?;
        answers.push(free(Answer::resolve(head, body).ok()?));
        rest = after;
    }
    Some(answers)
}

/// Whether an entry can be read.
pub(super) fn is_sound(entry: &[u8]) -> bool {
    number(entry).is_some_and(|(checksum, rest)| crc32c::crc32c(rest) == checksum)
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// The answer as the cache gives it: its tokens are what they were, its price was paid when it was asked.
fn free(mut answer: Answer) -> Answer {
    if let Answer::Completion(completion) = &mut answer {
        let cost = &mut completion.usage.cost_usd_nanos;
        *cost = cost.map(|_| 0);
    }
    answer
}

#[cfg(test)]
pub(super) mod tests {
    use plugin_api::{Completion, Generate, Loglikelihood, Prompt, TokenLogprob};

    use super::*;
    use crate::secret::Secret;

    /// A request for `n` choices.
    pub(in crate::store::cache) fn generate(text: &str, n: u32) -> Request<'_> {
        Request::Generate(Generate { n, ..Generate::new(Prompt::Text(text)) })
    }

    fn completion(endings: &[(&str, &str)]) -> Answer {
        let mut completion = Completion::new("", "stop");
        completion.choices = endings
            .iter()
            .map(|(text, reason)| Choice {
                text: (*text).into(),
                reasoning: None,
                finish_reason: FinishReason::from(*reason),
                logprobs: None,
            })
            .collect();
        Answer::Completion(completion)
    }

    fn likely(logprobs: &[Option<f64>]) -> Answer {
        let of = |logprob: &Option<f64>| Likelihood {
            logprob: *logprob,
            tokens: 1,
            ..Likelihood::default()
        };
        Answer::Likelihoods(logprobs.iter().map(of).collect())
    }

    #[test]
    fn no_refusal_no_truncation_and_nothing_of_another_shape_is_kept() {
        let two = || {
            Request::Loglikelihood(Loglikelihood {
                prompt: Prompt::Text("q"),
                continuations: vec!["a", "b"],
                token_logprobs: false,
            })
        };
        let zero_tokens = Answer::Likelihoods(vec![Likelihood::default(), Likelihood::default()]);
        let table = [
            (vec![generate("q", 1)], vec![completion(&[("a", "stop")])], true),
            (vec![generate("q", 2)], vec![completion(&[("a", "stop"), ("b", "stop")])], true),
            (vec![generate("q", 2)], vec![completion(&[("a", "stop"), ("b", "length")])], false),
            (vec![generate("q", 2)], vec![completion(&[("a", "stop")])], false),
            (vec![generate("q", 1)], vec![completion(&[("a", "length")])], false),
            (vec![generate("q", 1)], vec![completion(&[("a", "content_filter")])], false),
            (vec![generate("q", 1)], vec![completion(&[("a", "tool_calls")])], false),
            (vec![generate("q", 1)], vec![completion(&[("a", "unknown")])], false),
            (vec![generate("q", 1)], vec![completion(&[(" \n", "stop")])], false),
            (vec![generate("q", 1)], vec![likely(&[Some(-1.0)])], false),
            (vec![generate("q", 1)], vec![], false),
            (vec![two()], vec![likely(&[Some(-1.0), Some(-2.0)])], true),
            (vec![two()], vec![likely(&[Some(-1.0)])], false),
            (vec![two()], vec![likely(&[Some(-1.0), None])], false),
            (vec![two()], vec![likely(&[Some(-1.0), Some(f64::NAN)])], false),
            (vec![two()], vec![zero_tokens], false),
            (vec![two(), two()], vec![likely(&[Some(-1.0), Some(-2.0)])], false),
            (vec![Request::Health], vec![Answer::Nothing], false),
        ];
        for (requests, answers, expected) in table {
            assert_eq!(is_kept(&requests, &answers), expected, "{requests:?} {answers:?}");
        }
    }

    #[test]
    fn answers_come_back_as_they_were_but_for_their_price() {
        let mut full = Completion::new("ü \"said\"\n", "stop").with_usage(Some(7), Some(3));
        full.usage.cost_usd_nanos = Some(12);
        full.model = Some("m".into());
        full.choices[0].reasoning = Some("because".into());
        full.choices[0].logprobs = Some(vec![TokenLogprob {
            token: "ü".into(),
            logprob: Some(-0.1 - 0.2),
            top: vec![("u".into(), None)],
        }]);
        let answers = [Answer::Completion(full.clone()), likely(&[Some(-1.25e-7), Some(-2.0)])];
        let entry = write(&answers, &Redactor::default()).unwrap();
        full.usage.cost_usd_nanos = Some(0);
        match read(&entry).unwrap().as_slice() {
            [Answer::Completion(found), Answer::Likelihoods(likelihoods)] => {
                assert_eq!(*found, full);
                assert_eq!(likelihoods[0].logprob, Some(-1.25e-7));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_that_lost_or_changed_any_byte_is_not_read() {
        let entry = write(&[likely(&[Some(-1.0)])], &Redactor::default()).unwrap();
        assert!(is_sound(&entry));
        for at in 0..entry.len() {
            let mut changed = entry.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_none() && !is_sound(&changed), "changed at {at}");
            assert!(at == 0 || read(&entry[..at]).is_none(), "cut at {at}");
        }
        assert!(read(&[]).is_none());
    }

    #[test]
    fn an_answer_with_a_secret_in_it_is_not_kept() {
        let redactor = Redactor::new([("key", &Secret::new("sk-\"1234".into()))]);
        assert!(write(&[completion(&[("it is sk-\"1234", "stop")])], &redactor).is_none());
        assert!(write(&[completion(&[("it is", "stop")])], &redactor).is_some());
    }
}
