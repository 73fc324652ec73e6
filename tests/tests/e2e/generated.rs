//! What the program says of itself: schemas, completions, manual pages, and what it finds on a machine.
//! `UPDATE_RUN_SCHEMA=1 cargo test -p host-tests --test e2e generated` writes the schemas in `config/` anew.

use std::{fs, path::PathBuf};

use host_tests::{
    built,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

fn host(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.finish(sandbox.host(arguments))
}

#[test]
fn the_committed_schemas_are_the_programs_own_and_every_shipped_file_fits() {
    let schema = |arguments: &[&str], name: &str| {
        let printed = host(&Sandbox::new(), arguments).exits(0).stdout;
        let path = built::root().join("config").join(name);
        if std::env::var_os("UPDATE_RUN_SCHEMA").is_some() {
            fs::write(&path, &printed).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap() == printed,
            "config/{name} is stale: run UPDATE_RUN_SCHEMA=1 cargo test -p host-tests --test e2e generated"
        );
        let schema: Value = serde_json::from_str(&printed).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let of_run = schema(&["schema"], "host.schema.json");
    let of_task = schema(&["schema", "--task"], "task.schema.json");
    let _ = schema(&["schema", "--output"], "output.schema.json");
    let mut checked = 0;
    for (folder, validator) in [("config", &of_run), ("config/tasks", &of_task)] {
        let files = fs::read_dir(built::root().join(folder)).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let is_data =
            |path: &PathBuf| path.ends_with("prices.toml") || path.ends_with("providers.toml");
        for path in files.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
            if is_data(&path) {
                continue;
            }
            let file: Value = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let wrong: Vec<String> = validator
                .iter_errors(&file)
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 12, "{checked}");
}

#[test]
fn completions_and_pages_know_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = host(&sandbox, &["completions", shell]).exits(0).stdout;
        assert!(script.contains("retry-unscored"), "{shell}");
        assert!(!script.contains("supervise"), "{shell}: what is hidden stays so");
    }
    let page = host(&sandbox, &["man", "plugin", "list"]).exits(0).stdout;
    assert!(page.contains(".TH") && page.contains("plugin\\-dir"), "{page}");
    let _ = host(&sandbox, &["man", "nothing"]).exits(2).says(&["there is no command `nothing`"]);
    let written = host(&sandbox, &["man", "--out", "pages"]).exits(0).stdout;
    let names: Vec<&str> = written.lines().collect();
    assert!(names.contains(&"pages/host-run.1") && names.contains(&"pages/host.1"), "{names:?}");
    assert!(
        names.iter().all(|name| fs::read(sandbox.path(name)).is_ok_and(|page| page.len() > 100))
    );
}

#[test]
fn a_key_is_told_by_its_place_and_never_by_its_value() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.host(["doctor"]);
    command
        .env("OPENAI_API_KEY", "sk-very-secret")
        .env("HTTPS_PROXY", "http://me:pass@127.0.0.1:9/");
    let outcome = sandbox.finish(command).exits(0);
    for text in ["litellm", "in $OPENAI_API_KEY", "127.0.0.1:9", "landlock", "response cache"] {
        assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("very-secret") && !outcome.stdout.contains("me:pass"));
    let mut command = sandbox.host(["doctor", "--json"]);
    command.env("ANTHROPIC_API_KEY", "two\nlines").env_remove("HOME");
    let outcome = sandbox.finish(command).exits(0);
    let facts: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad: Vec<&Value> = facts.iter().filter(|fact| fact["state"] == "bad").collect();
    let said = |text: &str| bad.iter().any(|fact| fact["detail"].as_str().unwrap().contains(text));
    assert!(said("contains a line break"), "{bad:#?}");
}
