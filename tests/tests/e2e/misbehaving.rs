//! Plugins that misbehave: what they break is theirs alone.

use host_tests::left::counts;

use super::{CHOICE, CHOICE_DATA, ECHO, echoes, hostile, run};

/// Each mode of the hostile plugin that is its own sample's undoing, and what its samples end as.
const MODES: [(&str, &str); 23] = [
    ("fail", "overloaded"),
    ("panic_first_poll", "panic"),
    ("panic_later_poll", "panic"),
    ("panic_drop", "timeout"),
    ("never_ready", "protocol"),
    ("wait_forever", "timeout"),
    ("park_forever", "timeout"),
    ("again_forever", "timeout"),
    ("answer_twice", "protocol"),
    ("unknown_item", "protocol"),
    ("no_answer", "protocol"),
    ("bad_span", "protocol"),
    ("bad_action", "protocol"),
    ("garbage", "protocol"),
    ("call_twice", "protocol"),
    ("wrong_secret_slot", "invalid_request"),
    ("forbidden_url", "forbidden_origin"),
    ("file_url", "forbidden_origin"),
    ("header_injection", "invalid_request"),
    ("stream", ""),
    ("thread_wake", ""),
    ("cancel_unknown", ""),
    ("log_flood", ""),
];

#[test]
fn each_mode_ends_as_it_should_and_the_others_go_on() {
    let mut text =
        "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.attempt_timeout = \"2s\"\n".to_owned();
    for (mode, _) in MODES {
        text.push_str(&format!(
            "{}id = \"{mode}\"\nbase_url = \"http://127.0.0.1:9\"\nconfig.bytes = 1000\n",
            hostile(mode)
        ));
    }
    text.push_str(&format!("{}id = \"good\"\n", hostile("echo")));
    let left = run(&text, ECHO, &echoes(2)).exits(0).left();
    for (mode, expected) in MODES {
        let reasons: Vec<&str> = left
            .journal
            .iter()
            .filter(|line| line["backend"] == mode)
            .map(|line| line["status"]["unscored"].as_str().unwrap_or(""))
            .collect();
        assert_eq!(
            reasons,
            [expected; 2],
            "{mode}: {:?}",
            left.journal.iter().find(|line| line["backend"] == mode)
        );
    }
    let good = left.of_backend("good");
    assert_eq!(counts(good), [2, 2, 0]);
    assert_eq!(good["metrics"]["exact_match"]["value"], 1.0);
}

#[test]
fn a_flood_of_text_is_bounded_or_borne() {
    for mode in ["huge_delta", "many_deltas", "slow_block", "slow_open"] {
        let text = format!(
            "run.max_unscored = 1.0\nrun.max_retries = 0\n{}config.bytes = 100000\n",
            hostile(mode)
        );
        let left = run(&text, ECHO, &echoes(2)).exits(0).left();
        assert!(
            left.reasons().iter().all(|reason| ["", "protocol"].contains(reason)),
            "{mode}: {:?}",
            left.reasons()
        );
    }
}

#[test]
fn a_plugin_that_panics_when_it_opens_is_named() {
    let outcome = run(&hostile("panic_open"), ECHO, &echoes(1)).exits(5);
    let _ = outcome.says(&["backend `hostile`", "does not open", "panic"]);
}

#[test]
fn a_backend_that_does_not_open_leaves_the_others_alone() {
    let text = format!("{}id = \"bad\"\n{}id = \"good\"\n", hostile("panic_open"), hostile("echo"));
    let outcome = run(&text, ECHO, &echoes(2)).exits(5).says(&["backend `bad`", "panic"]);
    let left = outcome.left();
    assert_eq!(counts(left.of_backend("good")), [2, 2, 0]);
    assert_eq!(left.summary["run"]["state"], "failed");
}

#[test]
fn a_request_to_another_origin_is_refused_before_it_is_made() {
    let text = format!("run.max_retries = 0\n{}", hostile("forbidden_url"));
    let left = run(&text, ECHO, &echoes(1)).exits(3).left();
    let message = left.journal[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("forbidden.invalid") && message.contains("origins"), "{message}");
}

#[test]
fn a_prompt_that_breaks_the_plugin_is_unscored_while_likelihoods_go_on() {
    // One after another, likelihoods first: three panics before the first answer would end the backend.
    let text = format!(
        "run.max_retries = 0\nrun.max_unscored = 99\n{}concurrency = 1\n",
        hostile("panic_first_poll")
    );
    let choice = CHOICE.replace("\"t\"", "\"choice\"");
    let data = CHOICE_DATA.replace("\"label\"", "\"says\": \"x\", \"target\": \"x\", \"label\"");
    let left = run(&format!("{text}{choice}"), ECHO, &data).exits(0).left();
    let results = left.summary["results"].as_array().unwrap();
    assert_eq!(counts(&results[0]), [3, 3, 0]);
    assert_eq!(counts(&results[1]), [3, 0, 3]);
}
