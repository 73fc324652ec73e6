//! Whole sessions, played as the host would.

use std::{fs, sync::Arc};

use plugin_api::{
    Generate, Loglikelihood, Prompt, Request, json,
    message::OpenHead,
    testkit::{self, Played, Scripted, Stage, drop_at_every_step, no_panic},
};

use my_plugin::Local;

/// Opens the model with the text that the run file names.
fn open(smoothing: f64) -> Result<Arc<Local>, String> {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/text.txt");
    let granted = OpenHead {
        config: json!({ "smoothing": smoothing }),
        assets: [("text".to_owned(), text.to_owned())].into(),
        ..OpenHead::default()
    };
    testkit::open_with(granted).map(Arc::new)
}

fn stage() -> Stage<Local> {
    Stage::new(open(0.05).unwrap())
}

/// The server that a model in this process does not have.
fn nobody() -> Scripted {
    Scripted::new(404, "")
}

fn loglikelihood<'a>(context: &'a str, continuations: &[&'a str]) -> Request<'a> {
    Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text(context),
        continuations: continuations.to_vec(),
        token_logprobs: false,
    })
}

fn generate() -> Request<'static> {
    Request::Generate(Generate {
        n: 2,
        max_tokens: Some(40),
        temperature: Some(0.7),
        stop: vec![" ".into()],
        ..Generate::new(Prompt::Text("Text: th"))
    })
}

fn play(request: Request<'_>) -> Played {
    let played = stage().ask(request, nobody());
    assert!(played.requests.is_empty(), "{:?}", played.requests);
    played
}

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<Local>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn english_is_likelier_than_its_letters_in_another_order() {
    let played = play(loglikelihood("Text:", &[" the water", " hte tware"]));
    let found = played.likelihoods();
    assert!(found[0].logprob > found[1].logprob, "{found:?}");
    assert_eq!((found[0].tokens, found[1].tokens), (10, 10));
}

#[test]
fn an_answer_is_cut_at_a_stop_text() {
    let played = play(generate());
    let completion = played.completion();
    assert_eq!(completion.choices.len(), 2);
    assert_eq!(completion.choices[0].text, "e");
    assert_eq!(completion.choices[0].finish_reason.as_str(), "stop");
    assert_eq!(completion.changed[0].parameter, "temperature");
}

#[test]
fn long_work_gives_the_host_a_turn() {
    let long = "the water ".repeat(4000);
    let played = play(loglikelihood("Text:", &[&long]));
    assert_eq!(played.likelihoods()[0].tokens, 40_000);
    // The first step, and one for each turn.
    assert!(played.steps > 2, "{}", played.steps);
}

#[test]
fn a_session_may_end_at_any_step_and_odd_requests_do_no_harm() {
    let long = "the water ".repeat(4000);
    drop_at_every_step(stage, &[loglikelihood("Text:", &[&long])], nobody);
    drop_at_every_step(stage, &[generate()], nobody);
    no_panic(0..100, stage, nobody);
}

#[test]
fn a_configuration_that_makes_no_sense_names_its_key() {
    let error = open(0.0).map(|_| ()).unwrap_err();
    assert!(error.contains("config.smoothing"), "{error}");
    let missing = testkit::open::<Local>(json!({})).map(|_| ()).unwrap_err();
    assert!(missing.contains("[backend.asset.text]"), "{missing}");
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/run.toml")).unwrap();
    assert!(text.contains("[backend.asset.text]"));
}
