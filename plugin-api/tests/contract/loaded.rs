//! Libraries as they come from disk: one in C against the header alone, one from the export macro.

use std::{fs, path::Path};

use plugin_api::{
    Loglikelihood, Prompt, Request, abi,
    manifest::{AbiFloor, Manifest},
};
use serde_json::json;

use crate::{
    library::{build, cc, load, root, scratch, table},
    minihost::{Opened, open},
    subject::generate,
};

/// The entry is one that a host accepts, and its manifest is in the file, framed as it should be.
fn check_entry(path: &Path, entry: &abi::Entry) -> Manifest {
    assert_eq!(entry.magic, abi::MAGIC);
    assert_eq!(entry.size, size_of::<abi::Entry>());
    assert_eq!(entry.flags, 0);
    // SAFETY: static bytes of a library that is never unloaded.
    let json = unsafe { entry.manifest.as_slice() };
    let mut section = abi::MANIFEST_MAGIC.to_vec();
    section.extend(abi::MANIFEST_VERSION.to_le_bytes());
    section.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
    section.extend(json);
    let file = fs::read(path).unwrap();
    assert!(
        file.windows(section.len()).any(|window| window == section),
        "the section is not there"
    );
    let manifest: Manifest = serde_json::from_slice(json).unwrap();
    let floor = AbiFloor { major: entry.abi_major, minor: entry.abi_minor };
    assert_eq!((manifest.format, manifest.abi), (1, floor));
    manifest
}

fn c_plugin(config: serde_json::Value) -> Option<Opened> {
    let path = scratch().join(format!("libecho-{:?}.so", std::thread::current().id()));
    let source = root().join("plugin-api/examples/echo.c");
    let output = cc()?.args(["-shared", "-fPIC", "-o"]).arg(&path).arg(source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entry = load(&path);
    assert_eq!(check_entry(&path, entry).plugin.id, "my-plugin");
    Some(open(table(entry), config).unwrap())
}

#[test]
fn a_plugin_in_c_answers_from_the_body_of_its_start_event() {
    let Some(opened) = c_plugin(json!({})) else { return };
    let mut session = opened.begin();
    assert_eq!(session.generate(&["echo \"é\n\" me"]).briefs(), ["done 0: echo \"é\n\" me"]);
}

#[test]
fn a_plugin_in_c_makes_a_request_and_answers_with_its_reply() {
    let Some(opened) = c_plugin(json!({ "url": "http://127.0.0.1:1/x" })) else { return };
    let mut session = opened.begin();
    let step = session.generate(&["hello"]);
    assert_eq!((step.briefs(), step.pushed[0].text()), (vec!["http 1".to_owned()], "hello"));
    assert_eq!(session.reply(1, "world").briefs(), ["done 0: world"]);

    let mut session = opened.begin();
    session.generate(&["hello"]);
    let step = session.event(json!({ "reply": { "call": "1", "status": 500 } }), b"");
    assert_eq!((step.status, step.briefs()), (1, vec!["fail: unexpected_reply".to_owned()]));
    let step = opened.begin().start(&[Request::Health]);
    assert_eq!(step.briefs(), ["fail: unsupported"]);
}

#[test]
fn a_library_of_the_export_macro_answers() {
    let path = build("hostile");
    let entry = load(&path);
    let manifest = check_entry(&path, entry);
    assert_eq!((manifest.plugin.id.as_str(), manifest.license.as_str()), ("hostile", "MIT"));
    assert!(manifest.layout_check && manifest.rustc.starts_with("rustc "));
    assert!(manifest.config_schema["properties"]["mode"].is_object());

    let opened = open(table(entry), json!({ "text": "42" })).unwrap();
    let Request::Generate(mut request) = generate("x") else { return };
    request.n = 2;
    let step = opened.begin().start(&[Request::Generate(request)]);
    assert_eq!(step.briefs(), ["done 0: 4242"]);
    let scored = Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text("Q"),
        continuations: vec!["four"],
        token_logprobs: false,
    });
    let step = opened.begin().start(&[scored]);
    let likelihood = json!({ "logprob": -2.0, "tokens": 1, "greedy": true });
    let head: serde_json::Value = serde_json::from_str(&step.pushed[0].head).unwrap();
    assert_eq!(head["done"]["answer"]["likelihoods"], json!([likelihood]));
}

#[test]
fn panics_of_a_library_stay_inside_it() {
    let plugin = table(load(&build("hostile")));
    let (status, reason) = open(plugin, json!({ "mode": "panic_open" })).err().unwrap();
    assert_eq!(status, abi::STATUS_PANICKED);
    assert!(reason.contains("src/lib.rs:") && reason.ends_with("panic_open"), "{reason}");
    for mode in ["panic_first_poll", "panic_later_poll"] {
        let opened = open(plugin, json!({ "mode": mode })).unwrap();
        let mut session = opened.begin();
        let mut step = session.generate(&["x"]);
        if step.status == abi::STATUS_OK {
            step = session.event(json!({ "elapsed": { "call": "1" } }), b"");
        }
        assert_eq!((step.status, step.briefs()), (2, vec!["fail: panic".to_owned()]));
        assert!(step.failure().ends_with(mode), "{}", step.failure());
    }
    let opened = open(plugin, json!({ "mode": "panic_drop" })).unwrap();
    opened.begin().generate(&["x"]);
}

#[test]
fn a_library_wakes_its_session_from_a_thread_of_its_own() {
    let opened = open(table(load(&build("hostile"))), json!({ "mode": "thread_wake", "ms": 5 }));
    let opened = opened.unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["x"]).briefs(), ["park"]);
    while session.take_wakes() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let step = session.event(json!({ "woken": {} }), b"");
    assert_eq!(step.briefs(), ["done 0: the answer is 42"]);
}

#[test]
fn the_example_of_the_readme_is_a_complete_backend_in_under_forty_lines() {
    let source = fs::read_to_string(root().join("tests/plugins/acme/src/lib.rs")).unwrap();
    assert!(source.lines().count() < 40);
    let opened =
        open(table(load(&build("acme"))), json!({ "base_url": "https://acme.test" })).unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["hi"]).briefs(), ["http 1"]);
    let step = session.reply(1, r#"{"text":"hello","ended_by":"limit","tokens":[1,2]}"#);
    assert_eq!(step.briefs(), ["done 0: hello"]);
    assert!(step.pushed[0].head.contains(r#""finish_reason":"length""#));
}
