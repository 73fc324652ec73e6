//! Servers and networks that fail now and then, for a while, or for good: what is asked of them ends scored, with the
//! metrics of a run in which nothing failed.

use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    left::{Left, counts},
    mock::{Mock, lasting_port},
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{ECHO, OPENING, echoes, sums, tgi};

/// Little patience for servers that fall silent, and a number of requests in flight, where the defaults would take
/// minutes: one request of 67 falls silent, for two minutes by default, and with `concurrency = "auto"` a server of
/// which each eighth reply is a refusal, for no reason that depends on how much it is asked, is soon asked one or two
/// at a time.
const ENGINE: &str = "[run]\nconcurrency = 256\nmin_concurrency = 256\nattempt_timeout = \"3s\"\nidle_timeout = \"3s\"\n";

/// Streams and whole replies, of two plugins, and how many samples each is asked.
const BACKENDS: [(&str, &str, &str, u64); 2] = [
    (
        "streamed",
        "openai",
        "plugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\"\nstream = true",
        10_000,
    ),
    ("whole", "tgi", "plugin = \"tgi\"", 2_000),
];

/// A run file of both at this mock.
fn both(mock: &Mock) -> String {
    let mut text = ENGINE.to_owned();
    for (id, flavor, table, samples) in BACKENDS {
        let url = mock.url(flavor);
        let task = ECHO.replace("id = \"t\"", &format!("id = \"{id}\""));
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nbase_url = \"{url}\"\n{table}\n\
             {task}backends = [\"{id}\"]\nmax_samples = {samples}\n"
        ));
    }
    text
}

fn run(text: &str, data: &str) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data);
    let outcome = sandbox.run(text);
    outcome.keep(sandbox)
}

/// What each backend's metrics are.
fn metrics(left: &Left) -> Vec<(String, Value)> {
    let results = left.summary["results"].as_array().unwrap().iter();
    results.map(|result| (result["backend"].to_string(), result["metrics"].clone())).collect()
}

/// Attempts made, as the journal has them.
fn attempts(left: &Left) -> u64 {
    left.journal.iter().filter_map(|line| line["attempts"].as_u64()).sum()
}

/// Whether this many attempts for so many samples are few enough.
fn assert_few(attempts: u64, samples: u64) {
    assert!(attempts <= samples * 16 / 10, "{attempts} attempts for {samples} samples");
}

#[test]
fn with_three_of_ten_requests_failing_every_sample_is_scored_as_if_none_had() {
    let most = BACKENDS.map(|(.., samples)| samples);
    let samples: u64 = most.iter().sum();
    let data = sums(most[0] as usize);
    let (clean, faulty) = (Mock::start(&[]), Mock::start(&["--fault-mix", "0.3"]));
    let left = run(&both(&faulty), &data).exits(0).left();
    for (id, .., samples) in BACKENDS {
        assert_eq!(counts(left.of_backend(id)), [samples, samples, 0], "{id}");
    }
    let stats = faulty.stats();
    let requests = stats["requests"].as_u64().unwrap();
    assert_few(requests, samples);
    // Nothing below the host's own retries sends a request a second time.
    let sent = attempts(&left) + OPENING;
    assert!(requests <= sent, "{sent} attempts, {stats}");
    assert_few(attempts(&left), samples);
    let faults = stats["faults"].as_object().unwrap();
    let failed: u64 = faults.values().filter_map(Value::as_u64).sum();
    assert!(failed > samples / 4 && faults.len() == 8, "{stats}");

    let without = run(&both(&clean), &data).exits(0).left();
    assert_eq!(metrics(&left), metrics(&without));
    assert!(left.of_backend("whole")["metrics"]["exact_match"]["value"].as_f64().unwrap() < 1.0);
    // On a busy machine a request may take too long; nothing else asks a second time.
    let (asked, sent) = (clean.requests(), attempts(&without) + OPENING);
    assert!((samples + OPENING..=sent).contains(&asked), "{asked} requests, {sent} attempts");
}

/// A run that goes on while the test does something to its servers.
struct Going {
    child: Child,
    sandbox: Sandbox,
}

impl Going {
    fn start(text: &str, data: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("data.jsonl", data);
        let child = sandbox.spawn(sandbox.run_command(text, &[]));
        Self { child, sandbox }
    }

    /// What came of it. What it says in the meantime is little enough for a pipe.
    fn finish(self) -> Outcome {
        self.sandbox.wait(self.child).keep(self.sandbox)
    }
}

#[test]
fn a_replica_that_dies_and_comes_back_costs_no_sample() {
    const SAMPLES: u64 = 6_000;
    const SLOW: [&str; 2] = ["--latency-ms", "20"];
    let port = lasting_port();
    let (mortal, other) = (Mock::start_at(port, &SLOW), Mock::start(&SLOW));
    let text = format!(
        "run.concurrency = 16\n[[backend]]\nplugin = \"tgi\"\n\
         [[backend.replica]]\nbase_url = \"{}\"\n[[backend.replica]]\nbase_url = \"{}\"\n{ECHO}",
        mortal.url("tgi"),
        other.url("tgi"),
    );
    let data = sums(SAMPLES as usize);
    let going = Going::start(&text, &data);
    mortal.wait_for(SAMPLES / 6);
    drop(mortal);
    let before = other.requests();
    other.wait_for(before + SAMPLES / 6);
    let mortal = Mock::start_at(port, &SLOW);
    let outcome = going.finish().exits(0).says(&["times in a row", "answers again"]);
    let left = outcome.left();
    assert_eq!(left.counts(), [SAMPLES, SAMPLES, 0]);
    assert_few(attempts(&left), SAMPLES);
    assert!(mortal.requests() > SAMPLES / 60, "{} after its return", mortal.requests());
    let clean = Mock::start(&[]);
    let whole =
        format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n{ECHO}", clean.url("tgi"));
    assert_eq!(metrics(&left), metrics(&run(&whole, &data).exits(0).left()));
}

/// How long the only server is away.
const OUTAGE: Duration = Duration::from_secs(20);

#[test]
fn the_only_server_may_be_away_for_a_while() {
    const SAMPLES: u64 = 3_000;
    let port = lasting_port();
    let mock = Mock::start_at(port, &["--latency-ms", "5"]);
    let backend = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n", mock.url("tgi"));
    let data = sums(SAMPLES as usize);
    let going = Going::start(&format!("{backend}{ECHO}"), &data);
    mock.wait_for(SAMPLES / 3);
    drop(mock);
    let gone = Instant::now();
    // What is tested is that this time passes.
    thread::sleep(OUTAGE);
    let mock = Mock::start_at(port, &[]);
    let away = gone.elapsed();
    let outcome = going.finish().exits(0).says(&["times in a row", "answers again, after"]);
    let left = outcome.left();
    assert_eq!(left.counts(), [SAMPLES, SAMPLES, 0]);
    assert_few(attempts(&left), SAMPLES);
    assert!(mock.requests() > SAMPLES / 3, "{} after {away:?}", mock.requests());
    let without = run(&format!("{backend}{ECHO}"), &data).exits(0).left();
    assert_eq!(metrics(&left), metrics(&without));
}

#[test]
fn a_stuck_request_is_named_with_its_age_and_cut_by_its_deadline() {
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(|number, _| (number == 3).then_some(Fault::Silence))
        .start_blocking()
        .unwrap();
    let text = format!("run.attempt_timeout = \"7s\"\nrun.concurrency = 2\n{}{ECHO}", tgi(&fake));
    let outcome = run(&text, &echoes(5)).exits(0).says(&["slowest: t @ tgi, sample "]);
    let left = outcome.left();
    assert_eq!(left.counts(), [5, 5, 0]);
    let stuck = left.journal.iter().find(|line| line["attempts"] == 2).unwrap();
    let id = stuck["sample"]["id"].as_str().unwrap();
    let named = format!("slowest: t @ tgi, sample {id}, attempt 1, ");
    assert!(outcome.stderr.contains(&named), "{}", outcome.stderr);
    let cut = left.events.iter().find(|event| event["event"] == "retry").unwrap();
    assert_eq!((&cut["kind"], &cut["id"]), (&"timeout".into(), &id.into()));
}
