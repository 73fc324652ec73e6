//! Scores that follow from generated text.

use std::{collections::HashMap, sync::Mutex};

use host_tests::{
    built,
    fake_tgi::FakeTgi,
    sandbox::Sandbox,
    scripted::{Scripted, reply},
};
use serde_json::json;

use super::{CHOICE, CHOICE_DATA, ECHO, assert_close, hostile, run, tgi};

/// One record a text that is said, all with the same target.
fn saying(says: &[&str], target: &str) -> String {
    let record = |says: &&str| json!({ "says": says, "target": target, "a": "one", "b": "two" });
    says.iter().map(|says| format!("{}\n", record(says))).collect()
}

/// The answers found and the scores, sample by sample.
fn graded(task: &str, says: &[&str], target: &str) -> Vec<(Option<String>, f64)> {
    let left = run(&hostile("echo"), task, &saying(says, target)).exits(0).left();
    let choice = |line: &serde_json::Value| {
        let choice = &line["response"]["completion"]["choices"][0];
        let score = line["scores"]["exact_match"].as_f64().unwrap();
        (choice["answer"].as_str().map(str::to_owned), score)
    };
    left.journal.iter().map(choice).collect()
}

#[test]
fn a_choice_is_read_from_what_the_model_says() {
    let task = format!("{ECHO}choices.texts = [\"{{{{ a }}}}\", \"{{{{ b }}}}\"]\n");
    let said = ["The answer is B.", "(A)", "I cannot tell"];
    let expected = [(Some("B".to_owned()), 1.0), (Some("A".to_owned()), 0.0), (None, 0.0)];
    // The right one by its index; a task that has options looks for one of them.
    assert_eq!(graded(&task, &said, "1"), expected);
    assert_eq!(graded(&format!("{task}extract.kind = \"choice\"\n"), &said, "B"), expected);
    let whole = graded(&format!("{task}extract.kind = \"none\"\n"), &said, "(A)");
    let scores: Vec<f64> = whole.into_iter().map(|(_, score)| score).collect();
    assert_eq!(scores, [0.0, 1.0, 0.0]);
}

#[test]
fn a_number_is_read_from_what_the_model_says() {
    let task = format!("{ECHO}extract.kind = \"number\"\n");
    let said = ["6 times 7 is 42.", "about 1,042", "none"];
    let scores: Vec<f64> = graded(&task, &said, "42").into_iter().map(|(_, score)| score).collect();
    assert_eq!(scores, [1.0, 0.0, 0.0]);
}

#[test]
fn text_ends_before_a_stop_text_and_thinking_is_no_part_of_an_answer() {
    let task = format!("{ECHO}generate.stop = [\"END\"]\ngenerate.think_end = \"</think>\"\n");
    let said = ["42END 43", "is it 43? </think>42END", "43"];
    let scores: Vec<f64> = graded(&task, &said, "42").into_iter().map(|(_, score)| score).collect();
    assert_eq!(scores, [1.0, 1.0, 0.0]);
}

#[test]
fn stop_texts_are_sent_and_the_server_ends_there() {
    let fake = FakeTgi::builder().text(|_| " 42 STOP 43".to_owned()).start_blocking().unwrap();
    let task = format!("{ECHO}generate.stop = [\" STOP\"]\n");
    let left = run(&tgi(&fake), &task, &saying(&["x"], " 42")).exits(0).left();
    assert_close(left.metric("exact_match"), 1.0);
    let sent = fake.requests().into_iter().find(|request| request.route.starts_with("/generate"));
    assert_eq!(sent.unwrap().json()["parameters"]["stop"], json!([" STOP"]));
}

#[test]
fn what_the_model_did_is_wrong_or_left_out_as_the_task_says() {
    let fake = FakeTgi::builder().text(|_| " word".repeat(50)).start_blocking().unwrap();
    let cut =
        |rule: &str| format!("{ECHO}generate.max_tokens = 3\nextract.kind = \"number\"\n{rule}");
    let task = |rule: &str| {
        let (head, tables) =
            cut("").split_once("data.path").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        format!("{head}{rule}\ndata.path{tables}")
    };
    let data = saying(&["x"], "1");
    let wrong = run(&tgi(&fake), &task(""), &data).exits(0).left();
    assert_close(wrong.metric("exact_match"), 0.0);
    assert_eq!(wrong.result()["incidents"], json!({ "truncated": 1 }));
    let left_out = run(&tgi(&fake), &task("on_truncation = \"unscored\""), &data).exits(3).left();
    assert_eq!(left_out.result()["unscored_reasons"], json!({ "truncated": 1 }));

    let no_answer =
        ECHO.replace("kind = \"generate\"", "kind = \"generate\"\non_no_answer = \"unscored\"");
    let no_answer = format!("{no_answer}extract.kind = \"number\"\n");
    let left = run(&hostile("echo"), &no_answer, &saying(&["none", "1"], "1")).exits(3).left();
    assert_eq!(left.reasons(), ["no_answer", ""]);
    assert_close(left.metric("exact_match"), 1.0);
}

#[test]
fn a_refusal_is_wrong_or_left_out_as_the_task_says() {
    let refusing = format!("{}config.finish_reason = \"content_filter\"\n", hostile("echo"));
    let data = saying(&["1"], "1");
    let wrong = run(&refusing, ECHO, &data).exits(0).left();
    assert_close(wrong.metric("exact_match"), 0.0);
    assert_eq!(wrong.result()["incidents"], json!({ "refusal": 1 }));
    let task =
        ECHO.replace("kind = \"generate\"", "kind = \"generate\"\non_refusal = \"unscored\"");
    let left = run(&refusing, &task, &data).exits(3).left();
    assert_eq!(left.result()["unscored_reasons"], json!({ "refusal": 1 }));
}

/// A server that answers the same inputs differently from time to time: `a` right every time, `b` every
/// second time, `c` never.
fn wavering() -> FakeTgi {
    let times: Mutex<HashMap<String, u32>> = Mutex::default();
    let text = move |inputs: &str| {
        let mut times = times.lock().unwrap();
        let time = times.entry(inputs.to_owned()).or_default();
        *time += 1;
        let right = inputs == "a" || inputs == "b" && time.is_multiple_of(2);
        if right { "1".to_owned() } else { "0".to_owned() }
    };
    FakeTgi::builder().text(text).start_blocking().unwrap()
}

#[test]
fn choices_and_repeats_count_as_one_sample_in_the_standard_error() {
    let data = saying(&["a", "b", "c"], "1");
    let drawn = "generate.temperature = 0.8\ngenerate.seed = 7\n";
    let repeats = ECHO.replace("kind = \"generate\"", "kind = \"generate\"\nrepeats = 2");
    for (task, lines) in
        [(format!("{ECHO}{drawn}generate.n = 2\n"), 3), (format!("{repeats}{drawn}"), 6)]
    {
        let left = run(&tgi(&wavering()), &task, &data).exits(0).left();
        assert_eq!(left.journal.len(), lines);
        assert_eq!(left.counts(), [lines as u64, lines as u64, 0]);
        assert_close(left.metric("exact_match"), 0.5);
        // The means of the three samples are 1, 1/2 and 0, so s = 1/2.
        let stderr = left.result()["metrics"]["exact_match"]["stderr"].as_f64().unwrap();
        assert_close(stderr, 0.5 / 3_f64.sqrt());
    }
}

#[test]
fn no_two_choices_of_a_sample_are_drawn_with_one_seed() {
    let fake = FakeTgi::builder().text(str::to_owned).start_blocking().unwrap();
    let drawn = "repeats = 3\ngenerate.temperature = 0.8\ngenerate.seed = 7\ngenerate.n = 2\n";
    let data = saying(&["a"], "1");
    let _ = run(&tgi(&fake), &format!("{ECHO}{drawn}"), &data).exits(0);
    let seeds =
        fake.requests().into_iter().filter_map(|seen| seen.json()["parameters"]["seed"].as_u64());
    let mut seeds: Vec<u64> = seeds.collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_task_that_the_backend_cannot_do_stops_before_the_first_request() {
    let server = Scripted::start(|_| {
        reply(200, "", "{\"text\": \"A\", \"ended_by\": \"end\", \"tokens\": [1, 1]}")
    });
    let sandbox = Sandbox::new();
    sandbox.install(built::acme(), "plugins");
    sandbox.write("data.jsonl", CHOICE_DATA);
    let backend = format!(
        "[[backend]]\nplugin = \"acme\"\nbase_url = \"{}\"\nsecrets = [\"api_key\"]\n",
        server.url()
    );
    let run =
        |task: &str| sandbox.run_with(&format!("{backend}{task}"), &[("ACME_API_KEY", "key-1234")]);
    let refused = run(CHOICE).exits(2);
    let refused =
        refused.says(&["task `t` needs log-likelihood", "`acme`", "fallback = \"generate\""]);
    assert!(server.asked().is_empty() && refused.folders().is_empty());

    let task = CHOICE.replace("kind", "fallback = \"generate\"\nkind");
    let left = run(&task).exits(0).left();
    assert_eq!(left.result()["fallback"], true);
    assert_close(left.metric("exact_match"), 2.0 / 3.0);
    let bodies = server.asked().into_iter().map(|asked| asked.body);
    assert_eq!(bodies.filter(|body| body.contains("A. yes")).count(), 2);
}
