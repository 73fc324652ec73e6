//! What the command line means in place of a run file.

use serde_json::json;

use crate::config::{Named, Overrides, load::tests::TASK, load_named};

/// Each row: what is set in a run without a file, and where it is found in what the run means.
#[test]
fn a_run_without_a_file_takes_a_backends_keys_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("$piqa.toml");
    std::fs::write(&file, TASK).unwrap();
    let named =
        Named { tasks: vec![("piqa".into(), file)], backends: vec!["tgi".into(), "sglang".into()] };
    let load = |sets: &[&str]| {
        let sets = sets.iter().map(|&set| set.into()).collect();
        let changes = Overrides { sets, model: Some("m".into()), ..Overrides::default() };
        load_named(&named, &changes, &|_| None).map_err(|error| error.to_string())
    };
    let table = [
        ("base_url=mock:x", "/backends/1/base_url", json!("mock:x")),
        ("config.deep.er=1", "/backends/0/config/deep/er", json!(1)),
        ("backend.tgi.concurrency=3", "/backends/0/concurrency/ceiling", json!(3)),
        ("concurrency=3", "/backends/1/concurrency/ceiling", json!(3)),
        ("run.concurrency=4", "/backends/1/concurrency/ceiling", json!(4)),
        ("max_samples=5", "/tasks/0/max_samples", json!(5)),
        ("task.repeats=2", "/tasks/0/task/repeats", json!(2)),
        ("name=n", "/name", json!("n")),
        ("max_samples=6", "/name", json!("$piqa-tgi-sglang")),
        ("max_samples=6", "/backends/1/model", json!("m")),
    ];
    for (set, pointer, expected) in table {
        let config = serde_json::to_value(load(&[set]).unwrap().config).unwrap();
        assert_eq!(config.pointer(pointer), Some(&expected), "{set}");
    }
    let table = [
        ("base_ulr=mock:x", "--set base_ulr: base_ulr: unknown key"),
        (
            "mode=ok",
            "--set mode: mode: unknown key\n  hint: a key of the plugin's own is written `config.mode`; known keys: ",
        ),
        ("base_url=x", "--set base_url: backend.tgi.base_url: expected a URL"),
    ];
    for (set, expected) in table {
        let error = load(&[set]).map(|_| ()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}
