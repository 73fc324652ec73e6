//! Scores by `echo`, against replies as servers give them.

use serde_json::{Value, json};

use super::*;

fn reply(choice: &Value) -> Reply {
    Reply::new(200, &[], json!({ "choices": [choice] }).to_string().as_bytes())
}

fn only(all: Result<Vec<Vec<Scored>>>) -> Result<Vec<Scored>> {
    all.map(|mut all| all.remove(0))
}

fn echoed_once(reply: &Reply) -> Result<Vec<Scored>> {
    only(echoed(reply, 1))
}

fn by_ids(reply: &Reply, ids: &[u32]) -> Result<Vec<Scored>> {
    only(by_id(reply, &[ids]))
}

#[test]
fn choices_of_several_prompts_are_told_apart_by_their_numbers() {
    let choice = |index: Option<usize>, logprob: f64| {
        json!({ "index": index, "text": "", "logprobs": {
            "tokens": ["a", "b"], "token_logprobs": [null, logprob] } })
    };
    let reply = |choices: &[Value]| {
        Reply::new(200, &[], json!({ "choices": choices }).to_string().as_bytes())
    };
    let (first, second) = (choice(Some(0), -1.0), choice(Some(1), -2.0));
    let both = echoed(&reply(&[second.clone(), first.clone()]), 2).unwrap();
    let logprobs: Vec<_> = both.iter().map(|echo| echo[1].logprob).collect();
    assert_eq!(logprobs, [Some(-1.0), Some(-2.0)]);
    for wrong in [
        &[first.clone()][..],
        &[first.clone(), first.clone()],
        &[choice(None, -1.0), second.clone()],
        &[first.clone(), second.clone(), choice(Some(2), -3.0)],
    ] {
        let error = echoed(&reply(wrong), 2).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{wrong:?}");
    }
    // Where there is but one, its number does not matter.
    assert!(echoed(&reply(&[second]), 1).is_ok());
}

/// evaluation.md, V5.
fn v5() -> Value {
    json!({ "text": "", "logprobs": {
        "tokens": ["Q", ":", " x", " yes", " sir", "."],
        "token_logprobs": [null, -2.0, -1.5, -0.30, -1.25, -0.05],
        "top_logprobs": [null, { "a": -0.1 }, { "b": -0.1 }, { " yes": -0.30 },
                         { " no": -0.20, " sir": -1.25 }, { ".": -0.05 }] } })
}

#[test]
fn v5_sums_the_continuations_tokens_with_one_generated_token_or_none() {
    for generated in [1, 0] {
        let mut choice = v5();
        for list in ["tokens", "token_logprobs", "top_logprobs"] {
            let list = choice["logprobs"][list].as_array_mut().unwrap();
            list.truncate(5 + generated);
        }
        let echo = echoed_once(&reply(&choice)).unwrap();
        let prompt = of_prompt(echo, 5).unwrap();
        let likelihood = sum(&prompt, 3, false, true).unwrap();
        assert!((likelihood.logprob.unwrap() + 1.55).abs() < 1e-12);
        assert_eq!((likelihood.tokens, likelihood.greedy), (2, Some(false)));
        assert_eq!(likelihood.token_logprobs, Some(vec![Some(-0.30), Some(-1.25)]));
        assert_eq!(sum(&prompt, 3, false, false).unwrap().prompt_tokens, Some(5));
        assert_eq!(sum(&prompt[..4], 3, false, false).unwrap().greedy, Some(true));
    }
}

#[test]
fn v5_any_other_number_of_tokens_is_never_summed() {
    let echo = echoed_once(&reply(&v5())).unwrap();
    assert_eq!(of_prompt(echo.clone(), 3).unwrap_err().kind, ErrorKind::UnexpectedReply);
    assert_eq!(of_prompt(echo.clone(), 7).unwrap_err().kind, ErrorKind::UnexpectedReply);
    // A server that ignores `echo` gives the generated token alone.
    let error = of_prompt(echo[5..].to_vec(), 5).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("llama.cpp"));
    assert_eq!(sum(&echo, 6, false, false).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn vllm_tells_the_prompts_tokens_by_id_and_rank() {
    let entry = |id: &str, logprob: f64, rank: u64| json!({ id: { "logprob": logprob, "rank": rank, "decoded_token": "x" } });
    let mut second = entry("9", -1.25, 2);
    second["4"] = json!({ "logprob": -0.2, "rank": 1, "decoded_token": "y" });
    let choice = json!({ "text": "z", "prompt_logprobs": [
        null, entry("6", -2.0, 7), entry("7", -1.5, 1), entry("8", -0.3, 1), second] });
    let prompt = by_ids(&reply(&choice), &[5, 6, 7, 8, 9]).unwrap();
    let likelihood = sum(&prompt, 3, false, false).unwrap();
    assert!((likelihood.logprob.unwrap() + 1.55).abs() < 1e-12);
    assert_eq!(likelihood.greedy, Some(false));
    assert_eq!(sum(&prompt[..4], 2, false, false).unwrap().greedy, Some(true));
    assert_eq!(first_scored(&prompt), 1);
    for ids in [&[5, 6, 7, 8][..], &[5, 6, 7, 8, 3]] {
        assert_eq!(by_ids(&reply(&choice), ids).unwrap_err().kind, ErrorKind::UnexpectedReply);
    }
    let without = json!({ "text": "z", "logprobs": null });
    assert_eq!(by_ids(&reply(&without), &[5]).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn where_only_text_can_be_sent_the_tokens_texts_tell_the_boundary() {
    let echo = |tokens: &[(&str, Option<f64>)]| {
        tokens
            .iter()
            .map(|(text, logprob)| Scored {
                text: (*text).to_owned(),
                logprob: *logprob,
                greedy: None,
            })
            .collect::<Vec<_>>()
    };
    for (tokens, context, continuation, expected) in [
        (
            &[("Q", None), (":", Some(-1.0)), (" yes", Some(-0.5)), (".", Some(-9.0))][..],
            "Q:",
            " yes",
            Ok((2, false, 3)),
        ),
        // The server's BOS comes first.
        (
            &[("<s>", None), ("Q:", Some(-1.0)), (" yes", Some(-0.5))],
            "Q:",
            " yes",
            Ok((2, false, 3)),
        ),
        // A token across the boundary.
        (&[("Q", None), (": y", Some(-1.0)), ("es", Some(-0.5))], "Q:", " yes", Ok((1, true, 3))),
        (&[("<s>", None), ("yes", Some(-0.5))], "", "yes", Ok((1, false, 2))),
        (&[("yes", None), ("!", Some(-0.5))], "", "yes", Err(ErrorKind::InvalidRequest)),
        // Not the prompt.
        (&[("!", Some(-0.5))], "Q:", " yes", Err(ErrorKind::Unsupported)),
        (&[("Q", None), ("bytes:\\xe2", Some(-0.5))], "Q:", " yes", Err(ErrorKind::Unsupported)),
        (&[("Q", None), (":", Some(-0.5))], "Q:", " yes", Err(ErrorKind::Unsupported)),
    ] {
        let found = of_text(echo(tokens), context, continuation)
            .map(|(prompt, first, merged)| (first, merged, prompt.len()))
            .map_err(|error| error.kind);
        assert_eq!(found, expected, "{tokens:?}");
    }
}

#[test]
fn the_boundary_is_where_lm_eval_puts_it() {
    let joined = join(&[1, 10, 11], &[1, 10, 99, 21]).unwrap();
    assert_eq!(joined, Joined { ids: vec![1, 10, 11, 21], context: 3, merged: true });
    assert!(!join(&[1, 10], &[1, 10, 21]).unwrap().merged);
    assert_eq!(join(&[1, 10], &[1, 10]).unwrap_err().kind, ErrorKind::InvalidRequest);
    assert_eq!(join(&[], &[1]).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn a_reply_of_another_shape_is_never_a_score() {
    for body in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"choices":[]}"#,
        r#"{"choices":[{"logprobs":{"token_logprobs":"x"}}]}"#,
    ] {
        let reply = Reply::new(200, &[], body.as_bytes());
        assert_eq!(echoed_once(&reply).unwrap_err().kind, ErrorKind::UnexpectedReply, "{body}");
        assert_eq!(by_ids(&reply, &[1]).unwrap_err().kind, ErrorKind::UnexpectedReply, "{body}");
    }
    let uneven = json!({ "logprobs": { "tokens": ["a"], "token_logprobs": [null, -1.0] } });
    assert_eq!(echoed_once(&reply(&uneven)).unwrap_err().kind, ErrorKind::UnexpectedReply);
    let error = Reply::new(200, &[], br#"{"error":{"message":"busy","code":503}}"#);
    assert_eq!(echoed_once(&error).unwrap_err().kind, ErrorKind::Overloaded);
}
