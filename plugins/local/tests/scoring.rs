//! Scoring with the real model: known figures, the same figures every time, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers may stop the test, and say why one is skipped"
)]

mod common;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use local::chat_template::ChatMessage;
use local::engine::{EngineError, Prompt};
use local::rolling::RollingScoring;
use local::score::Scoring;

#[test]
fn paris_has_the_likelihood_that_other_engines_give_it() {
    let Some(engine) = common::engine() else {
        return;
    };
    let scored =
        common::score(&engine, Prompt::Text("The capital of France is"), &[" Paris", " Lyon"])
            .unwrap();
    println!("ln P( Paris) = {:.5}", scored[0].log_likelihood);
    assert!((scored[0].log_likelihood - -0.264).abs() < 0.01, "{scored:?}");
    assert!(scored[0].is_greedy && !scored[1].is_greedy);
    assert!(scored.iter().all(|one| !one.boundary_merged));
}

#[test]
fn packing_changes_nothing_but_rounding() {
    let Some(engine) = common::engine() else {
        return;
    };
    let prompt = Prompt::Text("Question: How do I boil an egg?\nAnswer:");
    let continuations =
        [" Put it in hot water.", " Put it in hot sand.", " Ask.", " Put it", " Ask."];
    let packed = common::score(&engine, prompt, &continuations).unwrap();
    for (continuation, packed) in continuations.iter().zip(&packed) {
        let alone = common::score(&engine, prompt, &[continuation]).unwrap().remove(0);
        assert!(
            (alone.log_likelihood - packed.log_likelihood).abs() < 1e-3,
            "{alone:?} {packed:?}"
        );
        assert_eq!(alone.is_greedy, packed.is_greedy);
        assert_eq!(alone.tokens.len(), packed.tokens.len());
    }
    assert_eq!(packed[2], packed[4]);
}

#[test]
fn figures_are_identical_however_the_work_is_cut_and_whatever_else_runs() {
    let Some(engine) = common::engine() else {
        return;
    };
    let prompt = Prompt::Text("Question: How do I boil an egg?\nAnswer:");
    let continuations = [" Put it in hot water.", " Put it in hot sand."];
    let expected = common::score(&engine, prompt, &continuations).unwrap();
    let runs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = [Duration::ZERO, Duration::from_millis(5), Duration::MAX]
            .into_iter()
            .map(|budget| {
                let engine = Arc::clone(&engine);
                scope.spawn(move || {
                    common::score_in_steps(&engine, prompt, &continuations, budget).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for run in runs {
        assert_eq!(run, expected);
    }
}

#[test]
fn more_rows_than_one_pass_takes_give_the_same_figures() {
    let Some(engine) = common::engine() else {
        return;
    };
    let context = "one two three four five six seven eight nine ten ".repeat(20);
    let text = format!("{context}eleven");
    let mut rolling = RollingScoring::new(&engine, &text, None).unwrap();
    let rolled = loop {
        if let Poll::Ready(tokens) = rolling.step(Duration::MAX).unwrap() {
            break tokens;
        }
    };
    let scored = common::score(&engine, Prompt::Text(""), &[&text]).unwrap().remove(0);
    let sum: f64 = rolled.iter().map(|token| token.log_prob).sum();
    assert_eq!(rolled.len(), scored.tokens.len());
    assert!((sum - scored.log_likelihood).abs() < 1e-3, "{sum} {}", scored.log_likelihood);
    // The model adds no BOS to a text, but an empty context is conditioned on it.
    let led = format!("<|im_start|>{context}");
    let last = common::score(&engine, Prompt::Text(&led), &["eleven"]).unwrap().remove(0);
    let end = scored.tokens.last().unwrap().log_prob;
    assert!((last.tokens.last().unwrap().log_prob - end).abs() < 1e-3);
}

#[test]
fn trailing_whitespace_of_the_context_belongs_to_the_continuation() {
    let Some(engine) = common::engine() else {
        return;
    };
    let apart =
        common::score(&engine, Prompt::Text("The capital of France is"), &[" Paris"]).unwrap();
    let moved =
        common::score(&engine, Prompt::Text("The capital of France is "), &["Paris"]).unwrap();
    assert_eq!(apart, moved);
}

#[test]
fn a_merge_across_the_boundary_is_reported() {
    let Some(engine) = common::engine() else {
        return;
    };
    let scored =
        common::score(&engine, Prompt::Text("The cap"), &["ital of France", " is"]).unwrap();
    assert_eq!(scored.iter().map(|one| one.boundary_merged).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_conversation_is_scored_after_the_assistants_header() {
    let Some(engine) = common::engine() else {
        return;
    };
    let messages = [ChatMessage::new("user", "What is the capital of France?")];
    let rendered = engine.render(Prompt::Messages(&messages)).unwrap();
    let ids = engine.encode(&rendered.text, rendered.is_verbatim).unwrap();
    let specials: Vec<u32> = ids.iter().copied().filter(|id| *id < 17).collect();
    assert_eq!(specials, [1, 2, 1, 2, 1], "{rendered:?}");
    assert!(rendered.text.ends_with("<|im_start|>assistant\n"));
    let scored = common::score(
        &engine,
        Prompt::Messages(&messages),
        &["The capital of France is Paris.", "The capital of France is Rome."],
    )
    .unwrap();
    assert!(scored[0].log_likelihood > scored[1].log_likelihood + 2.0, "{scored:?}");
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let Some(engine) = common::engine() else {
        return;
    };
    assert!(matches!(
        common::score(&engine, Prompt::Text("a"), &[" b", ""]),
        Err(EngineError::EmptyContinuation { index: 1 })
    ));
    let long = " word".repeat(9000);
    assert!(matches!(
        Scoring::new(&engine, Prompt::Text("a"), &[&long]).map(|_| ()),
        Err(EngineError::ContextLength { needed_tokens: 9000, limit_tokens: 8192 })
    ));
    assert!(matches!(
        RollingScoring::new(&engine, "a", Some(0)).map(|_| ()),
        Err(EngineError::Parameter { parameter: "window_tokens", .. })
    ));
}
