//! What counts as a difference between two runs, and how it is named.

use serde_json::json;

use super::*;
use crate::store::manifest::RunManifest;

fn run() -> Value {
    json!({
        "format": 1, "id": "r", "name": "r", "started": "", "host_version": "1.0.0",
        "config_blake3": "", "config": {
            "backends": [{
                "id": "b", "plugin": "p", "model": "m", "base_url": "http://a", "concurrency": 1,
                "config": { "x": 1 },
            }],
            "tasks": [{ "id": "t", "backends": ["b"], "task": {
                "id": "t", "data": { "path": "d.jsonl" }, "few_shot": { "n": 1, "source": "s.jsonl" },
                "prompt": { "user": "q" },
            }}],
        },
        "plugins": [{
            "id": "p", "version": "1", "path": "/p.so", "sha256": "aaaaaaaaaaaaaaaa", "sdk": "", "rustc": "",
            "isolation": "", "installed": true,
        }],
        "backends": [{
            "id": "b", "plugin": "p", "assets": { "model": "1" },
            "description": { "model": "org/m", "engine": "e", "version": "1" },
        }],
        "data": [{ "task": "t", "path": "d.jsonl", "blake3": "bbbbbbbbbbbbbbbb" }],
    })
}

/// What differs after a change of the second run: kind and words.
fn differing(pointer: &str, value: Value) -> Vec<String> {
    let stored = |value: Value| StoredRun {
        directory: "r".into(),
        manifest: serde_json::from_value::<RunManifest>(value).unwrap(),
        summary: None,
    };
    let mut other = run();
    match pointer.rsplit_once('/') {
        Some((map, key)) => other.pointer_mut(map).unwrap()[key] = value,
        None => panic!("{pointer}"),
    }
    let (a, b) = (stored(run()), stored(other));
    let [a, b] = [&a, &b].map(|run| Sided { run, backend: "b" });
    let all = [of_task("t", a, b), of_backends(a, b)].concat();
    all.iter().map(|one| format!("{:?} {one}", one.kind)).collect()
}

#[test]
fn each_thing_that_may_explain_a_difference_is_named_with_both_values() {
    let table = [
        ("/host_version", json!("2.0.0"), "Host version of the host: 1.0.0 / 2.0.0"),
        ("/config/backends/0/model", json!("n"), "Model model: m / n"),
        ("/config/backends/0/config/x", json!(2), "Backend backend: config.x: 1 / 2"),
        (
            "/config/tasks/0/task/prompt/user",
            json!("r"),
            "Task task `t`: prompt.user: \"q\" / \"r\"",
        ),
        ("/config/tasks/0/task/few_shot/n", json!(5), "FewShot task `t`: few_shot.n: 1 / 5"),
        (
            "/plugins/0/sha256",
            json!("cccccccccccccccc"),
            "Plugin plugin: p 1 (SHA-256 aaaaaaaaaaaa) / p 1 (SHA-256 cccccccccccc)",
        ),
        ("/backends/0/description/engine", json!("f"), "Engine engine: e / f"),
        ("/backends/0/assets/model", json!("2"), "Model file `model`: SHA-256 1 / SHA-256 2"),
        (
            "/backends/0/mock",
            json!(true),
            "Answerer who answered: servers or files / the host's mock",
        ),
        (
            "/data",
            json!([{ "task": "t", "path": "/x/d.jsonl", "blake3": "dddddddddddddddd" }]),
            "Data task `t`: contents of the data file d.jsonl: BLAKE3 bbbbbbbbbbbb / BLAKE3 dddddddddddd",
        ),
        (
            "/recording",
            json!({ "path": "x", "blake3": "e" }),
            "Answerer recording that answered: none / BLAKE3 e",
        ),
    ];
    for (pointer, value, expected) in table {
        assert_eq!(differing(pointer, value), [expected], "{pointer}");
    }
}

#[test]
fn where_things_lie_and_how_fast_they_are_asked_is_no_difference() {
    for (pointer, value) in [
        ("/id", json!("s")),
        ("/config/backends/0/base_url", json!("http://b")),
        ("/config/backends/0/concurrency", json!(9)),
        ("/config/tasks/0/task/data/path", json!("/x/d.jsonl")),
        ("/config/tasks/0/task/few_shot/source", json!("/x/s.jsonl")),
        ("/data/0/path", json!("/x/d.jsonl")),
        ("/plugins/0/path", json!("/x/p.so")),
        ("/backends/0/description/version", Value::Null),
    ] {
        assert!(differing(pointer, value).is_empty(), "{pointer}");
    }
}
