//! What differs between a run as it began and as it is to be resumed, of what decides its results. Pure.

use serde_json::Value;

use crate::{
    config::{KeyDifference, differences},
    store::manifest::{BackendIdentity, DataIdentity, PluginIdentity, RecordingIdentity},
};

/// What differs between two configurations, as `RunConfig::decisive` gives them: a line for each key, with the
/// values before and now.
pub fn of_config(before: &Value, now: &Value) -> Vec<String> {
    let in_words = |difference: KeyDifference| match difference.values {
        Some((before, now)) => format!("{}: {before} before, {now} now", difference.key),
        None => format!("{}: in another order", difference.key),
    };
    differences(before, now).into_iter().map(in_words).collect()
}

/// What differs between data files: a line for each.
pub fn of_data(before: &[DataIdentity], now: &[DataIdentity]) -> Vec<String> {
    let of = |files: &[DataIdentity], task: &str| -> Vec<DataIdentity> {
        files.iter().filter(|file| file.task == task).cloned().collect()
    };
    let mut tasks: Vec<&str> = Vec::new();
    for file in now {
        if !tasks.contains(&file.task.as_str()) {
            tasks.push(&file.task);
        }
    }
    let mut changes = Vec::new();
    for task in tasks {
        let (before, now) = (of(before, task), of(now, task));
        // A task that is new, or has other files, differs in its configuration too.
        if before.len() != now.len() {
            continue;
        }
        for (before, now) in before.iter().zip(&now).filter(|(a, b)| a.blake3 != b.blake3) {
            let (before, blake3) = (short(&before.blake3), short(&now.blake3));
            changes.push(format!(
                "data of task `{task}`: {} has other contents (BLAKE3 {before} before, {blake3} now)",
                now.path
            ));
        }
    }
    changes
}

/// What differs in who answers, servers or a recording.
pub fn of_recording(
    before: Option<&RecordingIdentity>,
    now: Option<&RecordingIdentity>,
) -> Option<String> {
    let named = |one: &RecordingIdentity| format!("{} (BLAKE3 {})", one.path, short(&one.blake3));
    match (before, now) {
        (Some(before), Some(now)) if before.blake3 != now.blake3 => Some(format!(
            "the recording that answers: {} before, {} now",
            named(before),
            named(now)
        )),
        (Some(before), None) => Some(format!(
            "who answers: the recording {} before, servers now; name the recording by --replay",
            named(before)
        )),
        (None, Some(now)) => {
            Some(format!("who answers: servers before, the recording {} now", named(now)))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// A plugin that is there now.
#[derive(Clone, Debug)]
pub struct PluginNow {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// What differs between plugins of the same id: a line for each.
pub fn of_plugins(before: &[PluginIdentity], now: &[PluginNow]) -> Vec<String> {
    let changed = now.iter().filter_map(|now| {
        let before = before.iter().find(|plugin| plugin.id == now.id)?;
        (before.sha256 != now.sha256).then(|| {
            format!(
                "plugin `{}`: version {} (SHA-256 {}) before, {} ({}) now",
                now.id,
                before.version,
                short(&before.sha256),
                now.version,
                short(&now.sha256)
            )
        })
    });
    changed.collect()
}

/// What differs in what backends say of themselves, and in the files that they are given: a line for each. What a
/// server does not say is no difference.
pub fn of_backends(before: &[BackendIdentity], now: &[BackendIdentity]) -> Vec<String> {
    let mut changes = Vec::new();
    for now in now {
        let Some(before) = before.iter().find(|backend| backend.id == now.id) else { continue };
        let mut say = |what: &str, before: &str, now_is: &str| {
            changes.push(format!("backend `{}`: {what}: {before} before, {now_is} now", now.id));
        };
        let (old, new) = (&before.description, &now.description);
        let told = [
            ("model", &old.model, &new.model),
            ("engine", &old.engine, &new.engine),
            ("version of the engine", &old.version, &new.version),
            ("what is put before a context", &old.bos, &new.bos),
        ];
        for (what, old, new) in told {
            if let (Some(old), Some(new)) = (old, new)
                && old != new
            {
                say(what, &format!("{old:?}"), &format!("{new:?}"));
            }
        }
        if old.lacks != new.lacks {
            let words = |lacks: &[plugin_api::capability::Capability]| {
                let names: Vec<String> = lacks.iter().map(ToString::to_string).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            };
            say("what it lacks", &words(&old.lacks), &words(&new.lacks));
        }
        for (name, sha256) in &now.assets {
            if let Some(old) = before.assets.get(name)
                && old != sha256
            {
                say(&format!("SHA-256 of its asset `{name}`"), short(old), short(sha256));
            }
        }
    }
    changes
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_that_differs_is_named_with_both_values() {
        let before = json!({
            "name": "r", "max_samples": null,
            "backends": [{ "id": "a", "model": "m", "config": { "t": 0.5 } }, { "id": "b", "model": "n" }],
            "tasks": [{ "id": "t", "task": { "id": "t", "prompt": { "user": "x" } } }],
            "groups": [],
        });
        let table = [
            ("/max_samples", json!(5), "max_samples: none before, 5 now"),
            ("/backends/0/config/t", json!(1), "backend.a.config.t: 0.5 before, 1 now"),
            (
                "/backends/0/id",
                json!("c"),
                "backend.a: there before, none now\nbackend.c: none before, there now",
            ),
            (
                "/tasks/0/task/prompt/user",
                json!("y"),
                "task.t.prompt.user: \"x\" before, \"y\" now",
            ),
            ("/groups", json!([{ "id": "g" }]), "group: [] before, [{\"id\":\"g\"}] now"),
            (
                "/backends/1",
                json!({ "id": "b", "model": "n", "more": true }),
                "backend.b.more: none before, true now",
            ),
        ];
        assert!(of_config(&before, &before).is_empty());
        for (pointer, value, expected) in table {
            let mut now = before.clone();
            *now.pointer_mut(pointer).unwrap() = value;
            assert_eq!(of_config(&before, &now).join("\n"), expected);
        }
        let mut now = before.clone();
        now["backends"].as_array_mut().unwrap().reverse();
        assert_eq!(of_config(&before, &now), ["backend: in another order"]);
        // A key that a later host has and this one had not is no difference while it holds nothing.
        now = before.clone();
        now["later"] = Value::Null;
        assert!(of_config(&before, &now).is_empty());
    }

    #[test]
    fn data_is_compared_file_by_file_wherever_it_lies() {
        let file = |task: &str, path: &str, blake3: &str| DataIdentity {
            task: task.to_owned(),
            path: path.to_owned(),
            blake3: blake3.to_owned(),
        };
        let before = [file("t", "a.jsonl", "1"), file("t", "a.lst", "2"), file("u", "b", "3")];
        let moved = [file("t", "/x/a.jsonl", "1"), file("t", "/x/a.lst", "2"), file("u", "b", "3")];
        assert!(of_data(&before, &moved).is_empty());
        let now = [file("t", "a.jsonl", "1"), file("t", "a.lst", "9"), file("u", "b", "3")];
        let changes = of_data(&before, &now);
        assert_eq!(
            changes,
            ["data of task `t`: a.lst has other contents (BLAKE3 2 before, 9 now)"]
        );
    }

    #[test]
    fn another_recording_is_told_and_one_elsewhere_is_the_same() {
        let recording = |path: &str, blake3: &str| {
            Some(RecordingIdentity { path: path.to_owned(), blake3: blake3.to_owned() })
        };
        let table = [
            (None, None, None),
            (recording("a", "1"), recording("/x/a", "1"), None),
            (
                recording("a", "1"),
                recording("a", "2"),
                Some("the recording that answers: a (BLAKE3 1) before, a (BLAKE3 2) now"),
            ),
            (
                recording("a", "1"),
                None,
                Some(
                    "who answers: the recording a (BLAKE3 1) before, servers now; name the recording by --replay",
                ),
            ),
            (
                None,
                recording("a", "1"),
                Some("who answers: servers before, the recording a (BLAKE3 1) now"),
            ),
        ];
        for (before, now, expected) in table {
            let change = of_recording(before.as_ref(), now.as_ref());
            assert_eq!(change.as_deref(), expected);
        }
    }

    #[test]
    fn another_engine_is_told_and_what_nobody_says_is_not() {
        let backend = |model: Option<&str>, version: Option<&str>, asset: &str| {
            let description = plugin_api::message::Description {
                model: model.map(str::to_owned),
                version: version.map(str::to_owned),
                ..plugin_api::message::Description::default()
            };
            BackendIdentity {
                id: "b".to_owned(),
                plugin: "p".to_owned(),
                mock: false,
                assets: [("model".to_owned(), asset.to_owned())].into(),
                description,
            }
        };
        let before = [backend(Some("m"), None, "1")];
        assert!(of_backends(&before, &[backend(Some("m"), Some("2"), "1")]).is_empty());
        assert!(of_backends(&before, &[backend(None, None, "1")]).is_empty());
        let changes = of_backends(&before, &[backend(Some("n"), None, "2")]);
        let expected = [
            "backend `b`: model: \"m\" before, \"n\" now",
            "backend `b`: SHA-256 of its asset `model`: 1 before, 2 now",
        ];
        assert_eq!(changes, expected);
    }
}
