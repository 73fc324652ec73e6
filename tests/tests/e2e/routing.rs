//! Several servers of one model, and other backends in the place of one that cannot answer: who is asked, and that it
//! is told.

use std::collections::{BTreeMap, BTreeSet};

use host_tests::{
    left::{Left, counts},
    mock::{Mock, lasting_port},
    sandbox::{Outcome, Sandbox},
};

use super::{ECHO, OPENING, sums};

fn run(text: &str, data: &str) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data);
    let outcome = sandbox.run(text);
    outcome.keep(sandbox)
}

/// A backend with these replicas and further keys.
fn backend(mocks: &[Mock], more: &str, each: impl Fn(usize) -> String) -> String {
    let mut text = format!("[[backend]]\nplugin = \"tgi\"\n{more}\n");
    for (index, mock) in mocks.iter().enumerate() {
        let (url, keys) = (mock.url("tgi"), each(index));
        text.push_str(&format!("[[backend.replica]]\nbase_url = \"{url}\"\n{keys}\n"));
    }
    text
}

fn mocks<const N: usize>(arguments: &[&str]) -> [Mock; N] {
    std::array::from_fn(|_| Mock::start(arguments))
}

/// How many samples each replica answered, as the journal has it.
fn by_replica(left: &Left) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in &left.journal {
        *counts.entry(line["replica"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn replicas_share_the_samples_and_each_record_names_its_own() {
    for route in ["least-in-flight", "round-robin", "prefix"] {
        let mocks: [Mock; 3] = mocks(&["--latency-ms", "5"]);
        let more = format!("route = \"{route}\"\nconcurrency = 8");
        let text = backend(&mocks, &more, |_| String::new());
        let left = run(&format!("{text}{ECHO}"), &sums(600)).exits(0).left();
        assert_eq!(left.counts(), [600, 600, 0], "{route}");
        let named = by_replica(&left);
        for mock in &mocks {
            let (requests, named) = (mock.requests(), named[&mock.url("tgi")]);
            assert!(named > 100, "{route}: {named} of 600 at one of three");
            assert!((named..=named + OPENING).contains(&requests), "{route}: {requests}, {named}");
        }
    }
}

#[test]
fn weights_say_how_much_each_replica_gets() {
    for route in ["least-in-flight", "round-robin"] {
        let mocks: [Mock; 2] = mocks(&["--latency-ms", "20"]);
        let weight = |index| format!("weight = {}", [3, 1][index]);
        // Few requests in flight of the many that may be: where every place is taken there is nothing to choose.
        let text = backend(&mocks, &format!("route = \"{route}\"\nrpm = 1200"), weight);
        let left = run(&format!("{text}{ECHO}"), &sums(100)).exits(0).left();
        assert_eq!(left.counts(), [100, 100, 0], "{route}");
        let more = by_replica(&left)[&mocks[0].url("tgi")];
        // Drawn by weight it is about 75; in turn it is 75.
        let expected = if route == "round-robin" { 75..=75 } else { 58..=92 };
        assert!(expected.contains(&more), "{route}: {more} of 100");
    }
}

#[test]
fn the_same_context_goes_to_the_same_replica() {
    let mocks: [Mock; 3] = mocks(&[]);
    // More places than samples, so that none is sent elsewhere because its own replica is full; and not many at once:
    // a replica that has much more to do than the others, as one that is slow, gives some away.
    let more = "route = \"prefix\"\nconcurrency = 400\nrpm = 3600";
    let text = backend(&mocks, more, |_| String::new());
    let left = run(&format!("{text}{ECHO}repeats = 3\n"), &sums(60)).exits(0).left();
    assert_eq!(left.journal.len(), 180);
    let mut homes: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for line in &left.journal {
        let index = line["sample"]["index"].as_u64().unwrap();
        homes.entry(index).or_default().insert(line["replica"].as_str().unwrap());
    }
    let scattered = homes.values().filter(|replicas| replicas.len() > 1).count();
    // By chance it would be 53.
    assert!(scattered <= 35, "{scattered} of {} contexts are at several replicas", homes.len());
    assert_eq!(by_replica(&left).len(), 3);
}

#[test]
fn a_replica_that_is_not_there_is_left_alone_and_the_others_do_its_work() {
    let away = lasting_port();
    let mock = Mock::start(&["--latency-ms", "2"]);
    let text = format!(
        "[[backend]]\nplugin = \"tgi\"\neject_after = 2\nconcurrency = 8\n\
         [[backend.replica]]\nbase_url = \"{}\"\n\
         [[backend.replica]]\nbase_url = \"http://127.0.0.1:{away}/tgi\"\n{ECHO}",
        mock.url("tgi"),
    );
    let outcome = run(&text, &sums(500)).exits(0);
    let not_there = format!("(http://127.0.0.1:{away}/tgi)");
    let outcome = outcome.says(&[&not_there, "its other servers go on without it"]);
    let left = outcome.says(&["times in a row"]).left();
    assert_eq!(left.counts(), [500, 500, 0]);
    let retries = left.events.iter().filter(|event| event["event"] == "retry").count();
    assert!(retries < 50, "{retries}");
}

#[test]
fn another_backend_answers_what_one_cannot_and_it_is_recorded() {
    let (broken, well) = (Mock::start(&["--drop-rate", "0.5"]), Mock::start(&[]));
    let text = format!(
        "run.max_retries = 0\n\
         [[backend]]\nid = \"first\"\nplugin = \"tgi\"\nbase_url = \"{}\"\nfallback = [\"second\"]\neject_after = 1000\n\
         [[backend]]\nid = \"second\"\nplugin = \"tgi\"\nbase_url = \"{}\"\n{ECHO}backends = [\"first\"]\n",
        broken.url("tgi"),
        well.url("tgi"),
    );
    let outcome = run(&text, &sums(200)).exits(0);
    let left = outcome.left();
    let first = left.of_backend("first");
    assert_eq!(counts(first), [200, 200, 0]);
    let stood_in: Vec<_> =
        left.journal.iter().filter(|line| line["answered_by"] == "second").collect();
    assert!((80..=120).contains(&stood_in.len()), "{}", stood_in.len());
    assert_eq!(first["answered_by"]["second"].as_u64(), Some(stood_in.len() as u64));
    assert!(stood_in.iter().all(|line| line["replica"].as_str() == Some(&well.url("tgi"))));
    assert!(stood_in.iter().all(|line| line["backend"] == "first" && line["attempts"] == 2));
    assert_eq!(well.requests(), stood_in.len() as u64 + OPENING);
    let said = format!("answered by another backend in its place: second {}", stood_in.len());
    assert!(outcome.stdout.contains(&said), "{}", outcome.stdout);
}

#[test]
fn samples_that_a_mock_answered_in_the_place_of_a_server_are_told_as_such() {
    let broken = Mock::start(&["--drop-rate", "0.5"]);
    let text = format!(
        "run.max_retries = 0\n\
         [[backend]]\nid = \"first\"\nplugin = \"tgi\"\nbase_url = \"{}\"\nfallback = [\"second\"]\neject_after = 1000\n\
         [[backend]]\nid = \"second\"\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}backends = [\"first\"]\n",
        broken.url("tgi"),
    );
    let outcome = run(&text, &sums(50)).exits(0);
    assert!(outcome.stdout.contains("answered by the host's own mock"), "{}", outcome.stdout);
    assert_eq!(outcome.left().of_backend("first")["mock"], true);
}
