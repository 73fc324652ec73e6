//! Generation with the real model: known text, stops, seeds and counts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers may stop the test, and say why one is skipped"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use local::chat_template::ChatMessage;
use local::engine::{Engine, Prompt};
use local::generate::{FinishReason, Generation, GenerationEvent, GenerationOptions, Usage};
use local::sampler::Sampling;

struct Outcome {
    texts: Vec<String>,
    reasons: Vec<FinishReason>,
    log_probs: Vec<f64>,
    usage: Usage,
}

fn generate(engine: &Arc<Engine>, prompt: Prompt<'_>, options: &GenerationOptions) -> Outcome {
    let mut generation = Generation::new(engine, prompt, options.clone()).unwrap();
    let mut texts = vec![String::new(); options.choices];
    let (mut reasons, mut log_probs) = (Vec::new(), Vec::new());
    loop {
        match generation.step(Duration::from_millis(50)).unwrap() {
            GenerationEvent::Working => {}
            GenerationEvent::Piece { choice, text, token } => {
                texts[choice].push_str(&text);
                log_probs.push(token.log_prob);
            }
            GenerationEvent::ChoiceEnd { choice, text, finish_reason } => {
                texts[choice].push_str(&text);
                reasons.push(finish_reason);
            }
            GenerationEvent::Done(usage) => {
                return Outcome { texts, reasons, log_probs, usage };
            }
        }
    }
}

fn greedy(max_tokens: usize, stops: &[&str]) -> GenerationOptions {
    GenerationOptions {
        max_tokens,
        stops: stops.iter().map(|stop| (*stop).to_owned()).collect(),
        sampling: Sampling::GREEDY,
        choices: 1,
    }
}

#[test]
fn greedy_text_is_what_the_scorer_calls_greedy() {
    let Some(engine) = common::engine() else {
        return;
    };
    let prompt = Prompt::Text("The capital of France is");
    let outcome = generate(&engine, prompt, &greedy(12, &[]));
    println!("{:?}", outcome.texts);
    assert!(outcome.texts[0].starts_with(" Paris"));
    assert_eq!(outcome.reasons, [FinishReason::Length]);
    assert_eq!(outcome.usage, Usage { prompt_tokens: 5, completion_tokens: 12 });
    let scored = common::score(&engine, prompt, &[&outcome.texts[0]]).unwrap().remove(0);
    assert!(scored.is_greedy);
    for (token, log_prob) in scored.tokens.iter().zip(&outcome.log_probs) {
        assert!((token.log_prob - log_prob).abs() < 1e-3);
    }
}

#[test]
fn a_stop_cuts_the_text_before_it() {
    let Some(engine) = common::engine() else {
        return;
    };
    let prompt = Prompt::Text("The capital of France is");
    let whole = generate(&engine, prompt, &greedy(12, &[])).texts.remove(0);
    // "ari" lies inside the token " Paris".
    for stop in ["ari", "Paris", &whole[3..14]] {
        let outcome = generate(&engine, prompt, &greedy(12, &[stop, "never"]));
        assert_eq!(outcome.texts[0], whole[..whole.find(stop).unwrap()], "{stop:?}");
        assert_eq!(outcome.reasons, [FinishReason::Stop]);
    }
}

#[test]
fn an_answer_ends_where_the_model_ends_it() {
    let Some(engine) = common::engine() else {
        return;
    };
    let messages = [ChatMessage::new("user", "What is the capital of France? Answer in one word.")];
    let outcome = generate(&engine, Prompt::Messages(&messages), &greedy(60, &[]));
    println!("{:?}", outcome.texts);
    assert_eq!(outcome.reasons, [FinishReason::Stop]);
    assert!(outcome.texts[0].contains("Paris") && !outcome.texts[0].contains("<|im_end|>"));
}

#[test]
fn a_seed_gives_the_same_text_and_choices_differ() {
    let Some(engine) = common::engine() else {
        return;
    };
    let prompt = Prompt::Text("Once upon a time");
    let sampling = Sampling { temperature: 1.0, top_k: 50, top_p: 0.95, seed: 3 };
    let options = GenerationOptions { choices: 2, sampling, ..greedy(8, &[]) };
    let first = generate(&engine, prompt, &options);
    assert_eq!(first.texts, generate(&engine, prompt, &options).texts);
    assert_ne!(first.texts[0], first.texts[1]);
    assert_eq!(first.usage.completion_tokens, 16);
    let second =
        GenerationOptions { choices: 1, sampling: Sampling { seed: 4, ..sampling }, ..options };
    assert_eq!(generate(&engine, prompt, &second).texts[0], first.texts[1]);
}

#[test]
fn no_tokens_wanted_is_no_text() {
    let Some(engine) = common::engine() else {
        return;
    };
    let outcome = generate(&engine, Prompt::Text(""), &greedy(0, &[]));
    assert_eq!((outcome.texts, outcome.reasons), (vec![String::new()], vec![FinishReason::Length]));
    assert_eq!(outcome.usage, Usage { prompt_tokens: 1, completion_tokens: 0 });
}
