//! What a profile and the environment make of a run file.

use std::path::Path;

use serde_json::json;

use crate::config::{
    MaxUnscored, RunFile,
    load::tests::{GOOD, declared, load_text},
};

const PROFILES: &str = r#"
profile = "${WHERE:-mock}"
max_samples = "${MAX_SAMPLES:-50}"
[run]
max_unscored = "${SHARE:-0.5}"
[[backend]]
id = "gpt-4.1"
plugin = "p"
base_url = "${NOT_SET}"
stream = "${STREAM:-false}"
config.temperature = "${T:-0}"
config.name = "${T:-0}"
[[backend]]
id = "b"
plugin = "p"
[[task]]
file = "tasks/piqa.toml"
[profiles.mock]
max_samples = 5
backend.base_url = "mock:openai"
backend.b.base_url = "mock:${B:-tgi}"
task.piqa.max_samples = 3
task.data.labels = "${LABELS:-l.lst}"
task.piqa.prompt.user = "costs ${X}"
[profiles.real]
backend.base_url = "${REAL_URL}"
[profiles.none]
backend."gpt-4.1".base_url = "http://127.0.0.1:1"
"#;

fn load_profile(text: &str, profile: &str, sets: &[&str]) -> Result<RunFile, String> {
    let profile = (!profile.is_empty()).then(|| format!("profile={profile}"));
    let sets: Vec<&str> = profile.iter().map(String::as_str).chain(sets.iter().copied()).collect();
    load_text(text, &sets).1
}

/// Each row: the profile, what is set beside it, and base URLs and sample caps of run and task.
#[test]
fn a_profile_sets_what_it_says_before_set_does() {
    let table = [
        ("", &[][..], "mock:openai mock:tgi", (5, 3)),
        ("mock", &["backend.b.base_url=mock:x", "max_samples=4"], "mock:openai mock:x", (4, 3)),
        ("none", &[], "http://127.0.0.1:1/ -", (50, 50)),
    ];
    for (profile, sets, urls, caps) in table {
        let config = load_profile(PROFILES, profile, sets).unwrap().config;
        let found: Vec<_> = config
            .backends
            .iter()
            .map(|b| b.base_url.as_ref().map_or("-".into(), ToString::to_string))
            .collect();
        assert_eq!(found.join(" "), urls, "{profile} {sets:?}");
        assert_eq!(
            (config.max_samples, config.tasks[0].max_samples),
            (Some(caps.0), Some(caps.1)),
            "{profile} {sets:?}"
        );
        let task = &config.tasks[0].task;
        if profile != "none" {
            assert_eq!(task.prompt.user, "costs ${X}");
            assert_eq!(task.data.labels.as_deref(), Some(Path::new("l.lst")));
        }
        assert_eq!(
            config.profile.as_deref(),
            Some(if profile.is_empty() { "mock" } else { profile })
        );
    }
}

#[test]
fn the_digest_names_the_profile_taken_and_no_other() {
    let digest =
        |text: &str, profile: &str| load_profile(text, profile, &[]).unwrap().config_blake3;
    let reference = digest(PROFILES, "mock");
    assert_eq!(reference, digest(PROFILES, ""));
    assert_eq!(reference, digest(&PROFILES.replace("${REAL_URL}", "${OTHER}"), "mock"));
    let renamed = PROFILES.replace("[profiles.mock]", "[profiles.fake]");
    assert_ne!(reference, digest(&renamed, "fake"));
    assert_ne!(reference, digest(&PROFILES.replace("max_samples = 5", "max_samples = 6"), "mock"));
}

#[test]
fn mistakes_about_profiles_are_told() {
    let table = [
        (
            "",
            "",
            "mok",
            "--set profile: profile: there is no profile `mok`\n  hint: did you mean `mock`?",
        ),
        (
            "",
            "",
            "42x",
            "--set profile: profile: there is no profile `42x`\n  hint: profiles: mock, none, real",
        ),
        (
            "${WHERE:-mock}",
            "reel",
            "",
            "demo.toml:2: profile: there is no profile `reel`\n  hint: did you mean `real`?",
        ),
        (
            "",
            "",
            "real",
            "demo.toml:26: backend.gpt-4.1.base_url: the environment variable REAL_URL is not set; set it, or give a default: `${REAL_URL:-…}`",
        ),
        (
            "max_samples = 5",
            "max_sample = 5",
            "",
            "demo.toml:19: max_sample: unknown key\n  hint: did you mean `max_samples`?",
        ),
        (
            "backend.b.base_url",
            "\"backend.b.base_url\"",
            "",
            "demo.toml:21: profiles.mock.\"backend.b.base_url\": is one key and no path\n  hint: write it without quotes: backend.b.base_url = …",
        ),
        (
            "max_samples = 5",
            "max_samples = \"${N:-few}\"",
            "",
            "demo.toml:19: max_samples: expected an integer, and the environment variable N (or its default here) gives \"few\"",
        ),
        (
            "\"mock:openai\"",
            "\"mock:\"",
            "",
            "demo.toml:20: backend.gpt-4.1.base_url: expected the name of a wire after `mock:`, as in \"mock:tgi\"",
        ),
    ];
    for (from, to, profile, expected) in table {
        assert!(PROFILES.contains(from), "{from}");
        let text = PROFILES.replacen(from, to, 1);
        let error = load_profile(&text, profile, &[]).map(|_| ()).unwrap_err();
        // A setting for every backend is told once for each.
        assert_eq!(
            error.lines().take(expected.lines().count()).collect::<Vec<_>>().join("\n"),
            expected,
            "{to} {profile}"
        );
    }
    let error = load_profile(GOOD, "mock", &[]).map(|_| ()).unwrap_err();
    assert!(error.contains("there is no profile `mock`\n  hint: write one as a table"), "{error}");
    let error = load_profile(&GOOD.replace("[run]", "profiles.x = 1\n[run]"), "", &[]).map(|_| ());
    assert_eq!(error.unwrap_err(), "demo.toml:3: profiles.x: expected a table, found 1");
}

/// A number or a boolean may come from the environment, wherever no text is wanted: also in what a plugin is told.
#[test]
fn numbers_and_booleans_may_come_from_the_environment() {
    let loaded = load_profile(PROFILES, "none", &["backend.b.base_url=mock:tgi"]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.max_samples, Some(50));
    assert_eq!(config.run.max_unscored, MaxUnscored::Share(0.5));
    assert!(!config.backends[0].stream);
    let schema = json!({"type": "object", "properties": {
        "temperature": {"type": ["number", "null"]}, "name": {"type": "string"}, "base_url": {"type": "string"}}});
    let checked = loaded.check_backend(0, 0, &declared(), &schema, None).unwrap();
    assert_eq!(
        json!(checked.config),
        json!({"temperature": 0, "name": "0", "base_url": "http://127.0.0.1:1"})
    );
    let mock = "http://127.0.0.1:9/tgi".parse().unwrap();
    let checked = loaded.check_backend(1, 0, &declared(), &schema, Some(&mock)).unwrap();
    assert_eq!(json!(checked.config), json!({"base_url": "http://127.0.0.1:9/tgi"}));
    let wants_true = json!({"type": "object", "properties": {"temperature": {"type": "boolean"}, "name": {}, "base_url": {}}});
    let error = loaded.check_backend(0, 0, &declared(), &wants_true, None).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string().rsplit_once('/').unwrap().1,
        "demo.toml:11: backend.gpt-4.1.config.temperature: expected true or false, and the environment variable T (or its default here) gives \"0\""
    );
}
