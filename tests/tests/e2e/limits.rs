//! How much is asked at once, how fast, how often, for how long and for how much: what the run file and the servers
//! allow, and no more.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    left::{Left, counts},
    mock::Mock,
    sandbox::{Outcome, Sandbox},
    scripted::{Scripted, reply},
};
use serde_json::Value;

use super::{ECHO, echoes, sums, tgi};

fn run(text: &str, data: &str) -> Outcome {
    run_with(text, data, &[])
}

fn run_with(text: &str, data: &str, variables: &[(&str, &str)]) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data);
    let outcome = sandbox.run_with(text, variables);
    outcome.keep(sandbox)
}

/// The TGI plugin at a mock.
fn at(mock: &Mock) -> String {
    format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n", mock.url("tgi"))
}

/// OpenAI's chat at a mock.
fn openai(mock: &Mock) -> String {
    let url = mock.url("openai");
    format!(
        "[[backend]]\nplugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\"\nbase_url = \"{url}\"\n"
    )
}

/// The events of a kind.
fn events<'l>(left: &'l Left, kind: &'l str) -> impl Iterator<Item = &'l Value> {
    left.events.iter().filter(move |event| event["event"] == kind)
}

/// How the limit of requests in flight moved.
fn limits(left: &Left) -> Vec<(u64, u64)> {
    let moves = events(left, "limit").map(|event| &event["change"]["change"]["limit"]);
    moves.filter_map(|moved| Some((moved["from"].as_u64()?, moved["to"].as_u64()?))).collect()
}

// Fatal conditions.

/// A run of many samples ends after a few requests, with one message that says these.
fn assert_stops(outcome: Outcome, requests: u64, texts: &[&str]) {
    assert!(![Some(0), Some(3), Some(4)].contains(&outcome.code), "{}", outcome.stderr);
    assert!(requests < 100, "{requests} requests");
    let errors = outcome.stderr.lines().filter(|line| line.contains("error")).count();
    assert_eq!(errors, 1, "{}", outcome.stderr);
    let _ = outcome.says(texts);
}

const MANY: usize = 20_000;

#[test]
fn a_key_that_is_refused_stops_the_run_at_once() {
    let mock = Mock::start(&["--api-key", "right"]);
    let text = format!("{}secrets = [\"openai\"]\n{ECHO}", openai(&mock));
    let outcome = run_with(&text, &echoes(MANY), &[("OPENAI_API_KEY", "wrong")]);
    let refused = mock.stat("refused");
    assert!(refused > 0, "{}", mock.stats());
    assert_stops(outcome, refused, &["401"]);
    assert_eq!(mock.requests(), 0, "nothing else was asked");
}

/// Another backend's answers are no sign that this one has any.
#[test]
fn a_backend_that_can_answer_nothing_stops_the_run_also_where_another_stands_in_for_it() {
    let mock = Mock::start(&["--api-key", "right"]);
    let text = format!(
        "{}secrets = [\"openai\"]\nfallback = [\"other\"]\n\n[[backend]]\nid = \"other\"\nplugin = \"tgi\"\n\
         base_url = \"mock:tgi\"\n{ECHO}backends = [\"litellm\"]\n",
        openai(&mock),
    );
    let outcome = run_with(&text, &echoes(MANY), &[("OPENAI_API_KEY", "wrong")]);
    assert_stops(outcome, mock.stat("refused"), &["401"]);
}

#[test]
fn a_model_that_is_not_there_stops_the_run_at_once() {
    let server = Scripted::start(|asked| match asked.line.as_str() {
        "POST /v1/chat/completions" => reply(
            404,
            "content-type: application/json\r\n",
            r#"{"error":{"message":"The model `nope` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
        ),
        _ => reply(404, "", "{}"),
    });
    let text = format!(
        "[[backend]]\nplugin = \"litellm\"\nmodel = \"openai/nope\"\nbase_url = \"{}/v1\"\n{ECHO}",
        server.url()
    );
    let outcome = run(&text, &echoes(MANY));
    assert_stops(outcome, server.asked().len() as u64, &["The model `nope` does not exist"]);
}

#[test]
fn a_request_that_is_never_valid_stops_the_run_at_once() {
    let fault = Fault::Raw(422, "Failed to deserialize the JSON body into the target type");
    let fake = FakeTgi::builder().faults(move |_, _| Some(fault.clone())).start_blocking().unwrap();
    let outcome = run(&format!("{}{ECHO}", tgi(&fake)), &echoes(MANY));
    assert_stops(outcome, fake.generations(), &["invalid_request", "422"]);
}

#[test]
fn one_sample_that_is_never_valid_stops_nothing() {
    let fake = FakeTgi::builder()
        .text(str::to_owned)
        .faults(|_, inputs| inputs.ends_with('7').then_some(Fault::Raw(422, "not this one")))
        .start_blocking()
        .unwrap();
    let left = run(&format!("{}{ECHO}", tgi(&fake)), &echoes(100)).exits(3).left();
    assert_eq!(left.counts(), [100, 90, 10]);
}

// Budgets.

/// A run under a budget stops with exit code 4 before its end, says why, and keeps what is finished.
fn assert_spent(outcome: Outcome, key: &str, samples: u64) -> Left {
    let outcome = outcome.exits(4).says(&[key]);
    let left = outcome.left();
    let [total, ..] = counts(left.result());
    assert!(total < samples, "{key}: {total} samples");
    assert_eq!(left.journal.len() as u64, total, "{key}");
    assert_eq!(left.summary["run"]["state"], "spent", "{key}");
    assert_eq!(events(&left, "spent").count(), 1, "{key}");
    left
}

#[test]
fn a_run_stops_at_its_budget_and_can_be_gone_on_with() {
    const SAMPLES: u64 = 2_000;
    let mock = Mock::start(&["--latency-ms", "20"]);
    let openai = openai(&mock);
    for (budget, least, most) in [
        // About 20 tokens a sample.
        ("max_tokens = 4000", 50, 800),
        ("max_usd = 0.0005", 20, 800),
        ("max_wall = \"700ms\"", 0, SAMPLES),
    ] {
        let text = format!("run.concurrency = 8\nrun.budget.{budget}\n{openai}{ECHO}");
        let key = budget.split_once(' ').unwrap().0;
        let left = assert_spent(run(&text, &sums(SAMPLES as usize)), key, SAMPLES);
        let done = left.journal.len() as u64;
        assert!((least..most).contains(&done), "{budget}: {done}");
    }
}

#[test]
fn what_a_budget_stopped_is_gone_on_with_once_the_budget_is_raised() {
    const SAMPLES: u64 = 400;
    let mock = Mock::start(&["--latency-ms", "5"]);
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", sums(SAMPLES as usize));
    let text =
        format!("run.concurrency = 4\nrun.budget.max_tokens = 2000\n{}{ECHO}", openai(&mock));
    let left = assert_spent(sandbox.run(&text), "max_tokens", SAMPLES);
    let (done, asked) = (left.journal.len() as u64, mock.requests());
    assert!(0 < done && done <= asked, "{done} of {asked}");

    // What was spent before counts: under the same budget nothing more is asked.
    let mut resume = sandbox.host(["resume"]);
    resume.arg(&left.path);
    let advice = format!("`host resume {} --set run.budget.max_tokens=…`", left.path.display());
    let same = sandbox.finish(resume).exits(4).says(&[&advice]).left();
    let (done, before, asked) = (same.journal.len() as u64, asked, mock.requests());
    assert_eq!(asked, before);
    assert_eq!((same.counts(), &same.summary["run"]["state"]), ([done, done, 0], &"spent".into()));

    let mut raised = sandbox.host(["resume"]);
    raised.arg(&left.path).args(["--set", "run.budget.max_tokens=1000000"]);
    let left = sandbox.finish(raised).exits(0).left();
    assert_eq!((left.counts(), left.journal.len() as u64), ([SAMPLES, SAMPLES, 0], SAMPLES));
    let indexes = left.journal.iter().map(|line| line["sample"]["index"].as_u64().unwrap());
    assert!(indexes.eq(0..SAMPLES), "each sample once");
    assert_eq!(mock.requests(), asked + SAMPLES - done);
    assert_eq!(left.summary["run"]["state"], "complete");
    assert_eq!(left.manifest["config"]["run"]["budget"]["max_tokens"], 1_000_000);
    let whole = run(&text.replace("2000", "1000000"), &sums(SAMPLES as usize)).exits(0).left();
    assert_eq!(left.results(), whole.results());
}

#[test]
fn a_budget_that_the_last_sample_spends_leaves_the_run_complete() {
    let mock = Mock::start(&[]);
    let text = |tokens: u64| {
        let limits = format!("run.concurrency = 1\nrun.budget.max_tokens = {tokens}");
        format!("{limits}\n{}{ECHO}", openai(&mock))
    };
    let whole = run(&text(1_000_000), &sums(20)).exits(0).left();
    let tokens = &whole.summary["results"][0]["tokens"];
    let used = tokens["prompt"].as_u64().unwrap() + tokens["completion"].as_u64().unwrap();
    let left = run(&text(used), &sums(20)).exits(0).left();
    assert_eq!(left.summary["run"]["state"], "complete");
    assert_eq!((left.results(), events(&left, "spent").count()), (whole.results(), 0));
}

#[test]
fn a_run_stops_when_too_much_of_it_fails() {
    let mock = Mock::start(&["--drop-rate", "0.5"]);
    let budget = "max_error_rate = 0.2\nrun.budget.min_samples = 40";
    let text = format!(
        "run.max_retries = 0\nrun.concurrency = 4\nrun.budget.{budget}\n{}eject_after = 100\n{ECHO}",
        at(&mock)
    );
    let left = assert_spent(run(&text, &sums(2_000)), "max_error_rate", 2_000);
    assert!((40..100).contains(&left.journal.len()), "{}", left.journal.len());
}

#[test]
fn few_failures_are_within_an_error_rate() {
    let mock = Mock::start(&["--drop-rate", "0.05"]);
    let budget = "max_error_rate = 0.2\nrun.budget.min_samples = 40";
    let text = format!(
        "run.max_retries = 0\nrun.max_unscored = 0.2\nrun.budget.{budget}\n{}{ECHO}",
        at(&mock)
    );
    let left = run(&text, &sums(400)).exits(0).left();
    assert_eq!(counts(left.result())[0], 400);
}

// Retries.

#[test]
fn no_retry_means_one_request_a_sample_whatever_fails() {
    for fault in ["--drop-rate", "--fail-rate", "--truncate-stream-rate"] {
        let mock = Mock::start(&[fault, "1"]);
        let text = format!(
            "run.max_retries = 0\n{}eject_after = 100\nstream = true\n{ECHO}",
            openai(&mock)
        );
        let left = run(&text, &sums(30)).exits(3).left();
        assert_eq!(left.counts(), [30, 0, 30], "{fault}");
        assert_eq!(mock.requests(), 30, "{fault}");
    }
}

/// A server that refuses the first request and asks to wait with these headers.
fn refusing_once(headers: impl Fn() -> String + Send + Sync + 'static) -> Scripted {
    let refused = std::sync::atomic::AtomicBool::new(false);
    Scripted::start(move |asked| match asked.line.as_str() {
        "POST /generate" => match refused.swap(true, std::sync::atomic::Ordering::Relaxed) {
            false => reply(429, &headers(), r#"{"error":"busy","error_type":"overloaded"}"#),
            true => reply(
                200,
                "content-type: application/json\r\n",
                r#"{"generated_text":"word 0","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null,"prefill":[],"tokens":[]}}"#,
            ),
        },
        _ => reply(200, "", r#"{"model_id": "m", "version": "3.3.0"}"#),
    })
}

#[test]
fn a_server_is_asked_again_when_it_says_in_whatever_form() {
    let in_two_seconds = || {
        // A date has whole seconds: this one is at least a second from now.
        let at = std::time::SystemTime::now() + Duration::from_secs(2);
        format!("retry-after: {}\r\n", httpdate::fmt_http_date(at))
    };
    type Headers = Box<dyn Fn() -> String + Send + Sync>;
    let table: [(&str, Headers, u64); 3] = [
        ("seconds", Box::new(|| "retry-after: 1\r\n".to_owned()), 1_000),
        ("a date", Box::new(in_two_seconds), 1_000),
        ("milliseconds", Box::new(|| "retry-after-ms: 700\r\n".to_owned()), 700),
    ];
    for (form, headers, least_ms) in table {
        let server = refusing_once(headers);
        let text =
            format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n{ECHO}", server.url());
        let left = run(&text, &echoes(1)).exits(0).left();
        assert_eq!(left.counts(), [1, 1, 0], "{form}");
        let asked: Vec<Instant> = server
            .asked()
            .iter()
            .filter(|asked| asked.line == "POST /generate")
            .map(|asked| asked.at)
            .collect();
        assert_eq!(asked.len(), 2, "{form}");
        let waited = asked[1] - asked[0];
        assert!(waited >= Duration::from_millis(least_ms), "{form}: {waited:?}");
        // No longer than twice that, but for what a busy machine takes.
        assert!(waited < Duration::from_secs(15), "{form}: {waited:?}");
    }
}

#[test]
fn a_server_that_wants_to_be_left_alone_for_longer_than_a_sample_has_time_ends_the_samples() {
    let server = Scripted::start(|asked| match asked.line.as_str() {
        "POST /generate" => reply(
            429,
            "retry-after: 3600\r\n",
            r#"{"error":"come tomorrow","error_type":"overloaded"}"#,
        ),
        _ => reply(200, "", r#"{"model_id": "m", "version": "3.3.0"}"#),
    });
    let text = format!(
        "run.concurrency = 4\n[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n{ECHO}",
        server.url()
    );
    let outcome = run(&text, &echoes(300)).exits(3).says(&["asks to be left alone until "]);
    assert_eq!(outcome.stderr.matches("asks to be left alone until ").count(), 1);
    let left = outcome.left();
    assert_eq!(left.reasons(), ["rate_limited"; 300]);
    // Those that were in flight when it said so, and no more.
    let asked = server.asked().iter().filter(|asked| asked.line == "POST /generate").count();
    assert!(asked <= 4, "{asked}");
    let unasked = left.journal.iter().find(|line| line["attempts"] == 0).unwrap();
    let message = unasked["error"]["message"].as_str().unwrap();
    assert!(message.contains("longer than a sample has time"), "{message}");
}

// Rates.

#[test]
fn no_more_requests_are_sent_a_minute_than_allowed() {
    const RPM: u64 = 1_200;
    let mock = Mock::start(&[]);
    let text = format!("{}rpm = {RPM}\n{ECHO}", at(&mock));
    let left = run(&text, &sums(100)).exits(0).left();
    assert_eq!(left.counts(), [100, 100, 0]);
    let stats = mock.stats();
    let ms = |key: &str| stats[key].as_u64().unwrap();
    // A second's worth may come at once, and the others one after another.
    let burst = RPM / 60;
    let least_ms = (100 - burst) * 60_000 / RPM;
    assert!(ms("last_ms") - ms("first_ms") + 10 >= least_ms, "{stats}");
    assert!(ms("most_in_a_second") <= 2 * burst + 1, "{stats}");
}

#[test]
fn what_a_server_refuses_for_its_rate_is_asked_when_it_says() {
    let mock = Mock::start(&["--rpm", "1200", "--rpm-burst", "20", "--retry-after-as", "ms"]);
    let text = format!("{}{ECHO}", openai(&mock));
    let left = run(&text, &sums(120)).exits(0).left();
    assert_eq!(left.counts(), [120, 120, 0]);
    // What is left is told with each answer, so that few are sent in vain.
    assert!(mock.requests() <= 240, "{}", mock.stats());
}

// Concurrency.

#[test]
fn a_number_bounds_what_is_in_flight() {
    let mock = Mock::start(&["--latency-ms", "3"]);
    let text = format!("run.concurrency = 7\n{}{ECHO}", at(&mock));
    let _ = run(&text, &sums(300)).exits(0);
    assert_eq!(mock.stat("most_in_flight"), 7);
}

#[test]
fn auto_finds_what_a_server_bears() {
    const CAPACITY: u64 = 20;
    const SAMPLES: u64 = 1_500;
    let capacity = CAPACITY.to_string();
    // Slow enough that what is in flight is at the server, and does not wait for this machine.
    let mock = Mock::start(&["--max-in-flight", &capacity, "--latency-ms", "100"]);
    let text = format!("run.concurrency = \"auto\"\n{}{ECHO}", at(&mock));
    let left = run(&text, &sums(SAMPLES as usize)).exits(0).left();
    assert_eq!(left.counts(), [SAMPLES, SAMPLES, 0]);
    let moves = limits(&left);
    assert!(moves.iter().any(|(from, to)| to < from), "{moves:?}");
    // Half of the run later it has settled around the capacity.
    let settled = &moves[moves.len() / 2..];
    let near = settled.iter().filter(|(_, to)| (CAPACITY / 3..=CAPACITY * 2).contains(to)).count();
    assert!(near * 10 >= settled.len() * 8, "{moves:?}");
    // Looking for it costs little.
    assert!(mock.requests() < SAMPLES * 12 / 10, "{}", mock.stats());
}

#[test]
fn a_limit_recovers_after_sustained_refusals() {
    const SAMPLES: u64 = 1_500;
    // From a third of the run on nothing is taken, for two seconds.
    let began = OnceLock::new();
    let is_over = move |number| {
        number > SAMPLES / 3 && began.get_or_init(Instant::now).elapsed() < Duration::from_secs(2)
    };
    let fake = FakeTgi::builder()
        .text(str::to_owned)
        .latency(Duration::from_millis(5))
        .faults(move |number, _| is_over(number).then_some(Fault::Overloaded(None)))
        .start_blocking()
        .unwrap();
    let text = format!("run.concurrency = 24\n{}{ECHO}", tgi(&fake));
    let left = run(&text, &echoes(SAMPLES as usize)).exits(0).left();
    assert_eq!(left.counts(), [SAMPLES, SAMPLES, 0]);
    let moves = limits(&left);
    let lowest = moves.iter().map(|(_, to)| *to).min().unwrap();
    assert!(lowest <= 6, "{moves:?}");
    assert!(moves.last().unwrap().1 >= 20, "{moves:?}");
}

// Hedges.

#[test]
fn a_slow_request_is_sent_a_second_time_only_if_the_run_wants_that() {
    const SAMPLES: u64 = 1_500;
    for hedge in [false, true] {
        // One request of 125 falls silent, for the two seconds until its deadline.
        let mock = Mock::start(&["--stall-rate", "0.008", "--latency-ms", "5"]);
        let text = format!(
            "run.attempt_timeout = \"2s\"\nrun.concurrency = 8\nrun.min_concurrency = 8\nrun.hedge = {hedge}\n{}{ECHO}",
            at(&mock)
        );
        let left = run(&text, &sums(SAMPLES as usize)).exits(0).left();
        assert_eq!(left.counts(), [SAMPLES, SAMPLES, 0]);
        let slow =
            left.journal.iter().filter(|line| line["timing_ms"]["total"].as_f64() > Some(1_500.0));
        let slow = slow.count();
        // Before enough answers have shown what is slow, nothing is hedged.
        let expected = if hedge { 0..=5 } else { 9..=14 };
        assert!(expected.contains(&slow), "hedge {hedge}: {slow} slow of {SAMPLES}");
    }
}
