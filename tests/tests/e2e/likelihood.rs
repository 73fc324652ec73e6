//! Scores that follow from log-likelihoods.

use host_tests::{
    fake_tgi::FakeTgi,
    left::{Left, counts},
    sandbox::Sandbox,
};

use super::{CHOICE, CHOICE_DATA, QUESTIONS, assert_close, hostile, run, tgi};

/// Index of the largest.
fn best(values: [f64; 2]) -> usize {
    usize::from(values[1] > values[0])
}

/// The log-probabilities of each sample's options as the journal has them.
fn journalled(left: &Left) -> Vec<Vec<f64>> {
    let options = |line: &serde_json::Value| {
        let options = line["response"]["likelihoods"]["conditional"].as_array().unwrap().clone();
        options.iter().map(|option| option["logprob"].as_f64().unwrap()).collect()
    };
    left.journal.iter().map(options).collect()
}

#[test]
fn the_shorter_option_wins_and_by_character_the_longer_one() {
    // -0.5 a byte with the space before it: `yes` is likelier than `no, never`, and less so a character.
    let left = run(&hostile("ok"), CHOICE, CHOICE_DATA).exits(0).left();
    assert_eq!(left.counts(), [3, 3, 0]);
    assert_eq!(journalled(&left), [[-2.0, -5.0], [-2.0, -8.0], [-5.0, -1.5]]);
    assert_close(left.metric("acc"), 1.0 / 3.0);
    assert_close(left.metric("acc_norm"), 2.0 / 3.0);
    let stderr = left.result()["metrics"]["acc"]["stderr"].as_f64().unwrap();
    // s² = 3/2 · p(1 - p), and the error is s/√3.
    assert_close(stderr, (1.5 * (1.0 / 3.0) * (2.0 / 3.0) / 3.0_f64).sqrt());
}

#[test]
fn options_are_scored_by_the_sum_of_their_tokens_log_probabilities() {
    let fake = FakeTgi::start_blocking().unwrap();
    let left = run(&tgi(&fake), CHOICE, CHOICE_DATA).exits(0).left();
    let expected = QUESTIONS.map(|(question, options, _)| {
        options.map(|option| fake.model().score(question, &format!(" {option}")).0)
    });
    assert_eq!(journalled(&left), expected);
    let mean = |rights: [bool; 3]| rights.iter().filter(|right| **right).count() as f64 / 3.0;
    let acc = [0, 1, 2].map(|i| best(expected[i]) == QUESTIONS[i].2);
    let acc_norm = [0, 1, 2].map(|i| {
        let per_character = |k: usize| expected[i][k] / QUESTIONS[i].1[k].len() as f64;
        best([per_character(0), per_character(1)]) == QUESTIONS[i].2
    });
    assert_close(left.metric("acc"), mean(acc));
    assert_close(left.metric("acc_norm"), mean(acc_norm));
    assert_eq!(left.result()["model"], "fake/model");
}

#[test]
fn a_metric_that_the_backend_does_not_tell_stops_the_run_and_is_not_left_out() {
    let fake = FakeTgi::start_blocking().unwrap();
    let task = format!("{CHOICE}metrics = [\"acc\", \"exact_match\"]\n");
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", CHOICE_DATA);
    let file = sandbox.write("run.toml", format!("{}{task}", tgi(&fake)));
    let why = ["`metrics`: exact_match cannot be had", "it can have acc, acc_norm"];
    let mut check = sandbox.host(["check"]);
    check.arg(&file);
    let checked = sandbox.finish(check);
    assert!(why.iter().all(|why| checked.stdout.contains(why)), "{}", checked.stdout);
    assert!(checked.stdout.contains("it cannot run"), "{}", checked.stdout);
    let _ = run(&tgi(&fake), &task, CHOICE_DATA).exits(2).says(&why);
    // Its first sample shows it, whatever another task has been answered.
    let first = CHOICE.replace("\"t\"", "\"first\"").replace("data.jsonl", "first.jsonl");
    let sandbox = Sandbox::new();
    let one = CHOICE_DATA.lines().next().unwrap();
    sandbox.write("data.jsonl", one);
    sandbox.write("first.jsonl", CHOICE_DATA);
    let both = format!("{}concurrency = 1\n{first}{task}", tgi(&fake));
    let outcome = sandbox.run(&both).exits(2).says(&why);
    assert_eq!(counts(&outcome.left().summary["results"][0]), [3, 3, 0]);
}

#[test]
fn a_chat_prompt_is_rendered_by_the_server_before_it_is_scored() {
    let fake = FakeTgi::start_blocking().unwrap();
    let task = format!("{CHOICE}prompt.format = \"chat\"\n");
    let left = run(&tgi(&fake), &task, CHOICE_DATA).exits(0).left();
    let expected = QUESTIONS.map(|(question, options, _)| {
        let rendered = fake.model().template([("user", question)].into_iter());
        // The template wrote the beginning of the text, so the tokenizer must not add another.
        let bare = rendered.strip_prefix("<s>").unwrap();
        options.map(|option| fake.model().score(bare, option).0)
    });
    assert_eq!(journalled(&left), expected);
    assert!(fake.requests().iter().any(|request| request.route == "/chat_tokenize"));
}

#[test]
fn examples_stand_before_the_question_and_never_hold_the_sample_itself() {
    let fake = FakeTgi::start_blocking().unwrap();
    let task = format!("{CHOICE}few_shot.n = 1\n");
    let left = run(&tgi(&fake), &task, CHOICE_DATA).exits(0).left();
    let first = "Q: Is grass green?\nA: yes\n\n";
    let second = "Q: Is snow black?\nA: no, it is white\n\n";
    let shown = [second, first, first];
    for ((line, example), (question, ..)) in left.journal.iter().zip(shown).zip(QUESTIONS) {
        assert_eq!(line["question"]["full"]["prompt"]["text"], format!("{example}{question}"));
    }
}

#[test]
fn perplexities_follow_from_the_whole_texts() {
    let fake = FakeTgi::start_blocking().unwrap();
    let task = r#"
[[task]]
id = "t"
kind = "perplexity"
data.path = "data.jsonl"
prompt.user = "{{ text }}"
"#;
    // More than after which a backend that can answer nothing is given up.
    let texts: Vec<String> = (0..20).map(|i| format!("{i} men went to mow a meadow")).collect();
    let data: String = texts.iter().map(|text| format!("{{\"text\": \"{text}\"}}\n")).collect();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", &data);
    let file = sandbox.write("run.toml", format!("{}{task}", tgi(&fake)));
    let mut check = sandbox.host(["check"]);
    check.arg(&file);
    let _ = sandbox.finish(check).exits(0);
    let left = run(&tgi(&fake), task, &data).exits(0).left();
    assert_eq!(left.counts(), [20, 20, 0]);
    let sum: f64 = texts.iter().map(|text| fake.model().score("", text).0).sum();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    assert_close(left.metric("word_perplexity"), (-sum / (20.0 * 7.0)).exp());
    assert_close(left.metric("byte_perplexity"), (-sum / bytes as f64).exp());
    assert_close(left.metric("bits_per_byte"), -sum / bytes as f64 / 2_f64.ln());
}

#[test]
fn a_group_weighs_samples_or_tasks_the_same() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", CHOICE_DATA);
    let right = "{\"q\": \"?\", \"a\": \"y\", \"b\": \"long\", \"label\": 0}\n";
    sandbox.write("more.jsonl", right);
    let more = CHOICE.replace("\"t\"", "\"more\"").replace("data.jsonl", "more.jsonl");
    let group = "[[group]]\nid = \"both\"\ntasks = [\"t\", \"more\"]\nmetric = \"acc\"\n";
    let text = format!("{}{CHOICE}{more}{group}", hostile("ok"));
    let left = sandbox.run(&text).exits(0).left();
    let group = &left.summary["groups"][0];
    assert_close(group["by_sample"]["value"].as_f64().unwrap(), 2.0 / 4.0);
    assert_close(group["by_task"]["value"].as_f64().unwrap(), (1.0 / 3.0 + 1.0) / 2.0);
}
