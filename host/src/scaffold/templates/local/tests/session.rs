//! Whole sessions, driven as the host would.

use std::{fs, sync::Arc};

use plugin_api::{
    Answer, Generate, Likelihood, Loglikelihood, Prompt, Request, json,
    message::{Action, Event, OpenHead},
    testkit::{self, Driver, Pushed},
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

fn loglikelihood<'a>(context: &'a str, continuations: &[&'a str]) -> Request<'a> {
    Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text(context),
        continuations: continuations.to_vec(),
        token_logprobs: false,
    })
}

fn answer(pushed: &[Pushed]) -> Answer {
    let last = pushed.last().unwrap();
    let Action::Done(done) = last.action() else {
        panic!("no answer: {last:?}");
    };
    Answer::resolve(done.answer, &last.body).unwrap()
}

fn likelihoods(pushed: &[Pushed]) -> Vec<Likelihood> {
    match answer(pushed) {
        Answer::Likelihoods(likelihoods) => likelihoods,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<Local>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn english_is_likelier_than_its_letters_in_another_order() {
    let mut session = Driver::new(open(0.05).unwrap());
    let asked = loglikelihood("Text:", &[" the water", " hte tware"]);
    let found = likelihoods(&session.start(&[asked]));
    assert!(found[0].logprob > found[1].logprob, "{found:?}");
    assert_eq!((found[0].tokens, found[1].tokens), (10, 10));
}

#[test]
fn an_answer_is_cut_at_a_stop_text() {
    let mut session = Driver::new(open(0.05).unwrap());
    let asked = Request::Generate(Generate {
        n: 2,
        max_tokens: Some(40),
        temperature: Some(0.7),
        stop: vec![" ".into()],
        ..Generate::new(Prompt::Text("Text: th"))
    });
    let Answer::Completion(completion) = answer(&session.start(&[asked])) else {
        panic!("no completion");
    };
    assert_eq!(completion.choices.len(), 2);
    assert_eq!(completion.choices[0].text, "e");
    assert_eq!(completion.choices[0].finish_reason.as_str(), "stop");
    assert_eq!(completion.changed[0].parameter, "temperature");
}

#[test]
fn long_work_gives_the_host_a_turn() {
    let long = "the water ".repeat(4000);
    let mut session = Driver::new(open(0.05).unwrap());
    let mut pushed = session.start(&[loglikelihood("Text:", &[&long])]);
    let mut turns = 0;
    while matches!(pushed[0].action(), Action::Again {}) {
        turns += 1;
        pushed = session.event(&Event::Resumed {}, b"");
    }
    assert_eq!(likelihoods(&pushed)[0].tokens, 40_000);
    assert!(turns > 1, "{turns}");
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
