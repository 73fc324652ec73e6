//! Plugins of other people: the example of the author's guide, and one in plain C.

use host_tests::{
    built,
    sandbox::Sandbox,
    scripted::{Scripted, reply},
    skip::skipped,
};
use serde_json::json;

use super::{ECHO, assert_close, echoes};

fn acme(server: &Scripted) -> String {
    let url = server.url();
    format!(
        "run.max_retries = 0\n[[backend]]\nplugin = \"acme\"\nbase_url = \"{url}\"\nsecrets = [\"api_key\"]\n"
    )
}

/// The key that it needs.
const KEY: (&str, &str) = ("ACME_API_KEY", "acme-key-1234");

fn with_acme(data: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.install(built::acme(), "plugins");
    sandbox.write("data.jsonl", data);
    sandbox
}

#[test]
fn the_guides_example_is_scored() {
    let server = Scripted::start(|asked| {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        let answer = json!({ "text": body["prompt"], "ended_by": "stop", "tokens": [3, 4] });
        reply(200, "content-type: application/json\r\n", &answer.to_string())
    });
    let sandbox = with_acme(&echoes(2));
    let left = sandbox
        .run_with(&format!("{}{ECHO}generate.max_tokens = 9\n", acme(&server)), &[KEY])
        .exits(0);
    let left = left.left();
    assert_close(left.metric("exact_match"), 1.0);
    assert_eq!(left.result()["tokens"], json!({ "prompt": 6, "completion": 8 }));
    assert_eq!(left.journal[0]["response"]["completion"]["choices"][0]["finish_reason"], "stop");
    assert_eq!(server.asked()[0].line, "POST /complete");
    assert!(server.asked()[0].headers.contains("authorization: Bearer acme-key-1234\n"));
    let body: serde_json::Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(body["limit"], 9);
}

#[test]
fn the_guides_example_says_why_it_fails() {
    let server = Scripted::start(|_| reply(402, "", "pay first"));
    let sandbox = with_acme(&echoes(1));
    let left = sandbox.run_with(&format!("{}{ECHO}", acme(&server)), &[KEY]).exits(3).left();
    assert_eq!(left.reasons(), ["unauthorized"]);
    assert_eq!(left.journal[0]["error"]["message"], "the account is empty");
}

#[test]
fn the_guides_example_tells_a_cut_off_answer() {
    let server = Scripted::start(|_| {
        reply(200, "", "{\"text\": \"x\", \"ended_by\": \"limit\", \"tokens\": [1, 1]}")
    });
    let sandbox = with_acme(&echoes(1));
    let left = sandbox.run_with(&format!("{}{ECHO}", acme(&server)), &[KEY]).exits(0).left();
    assert_eq!(left.journal[0]["response"]["completion"]["choices"][0]["finish_reason"], "length");
    assert_eq!(left.result()["incidents"], json!({ "truncated": 1 }));
}

#[test]
fn a_plugin_in_c_loads_where_the_run_file_trusts_it() {
    let sandbox = Sandbox::new();
    let library = sandbox.write("plugins/libecho.so", "");
    if built::c_library(&built::c_source(), &library).is_none() {
        return skipped("there is no `cc`");
    }
    sandbox.write("data.jsonl", echoes(3));
    let backend = "run.max_retries = 0\n[[backend]]\nplugin = \"my-plugin\"\n";
    let refused = sandbox.run(&format!("{backend}{ECHO}")).exits(5);
    let _ = refused.says(&["carries no layout check", "allow_unchecked_layout = true"]);
    let trusted = format!("{backend}allow_unchecked_layout = true\n{ECHO}");
    let left = sandbox.run(&trusted).exits(0).left();
    assert_eq!(left.counts(), [3, 3, 0]);
    assert_close(left.metric("exact_match"), 1.0);

    // It knows a server that the run file does not allow.
    let server = Scripted::start(|asked| reply(200, "", &asked.body));
    let url = server.url();
    let stray = format!("{backend}allow_unchecked_layout = true\nconfig.url = \"{url}/\"\n");
    let left = sandbox.run(&format!("{stray}{ECHO}")).exits(3).left();
    // The plugin words every failed request as `transport`.
    assert_eq!(left.reasons(), ["transport"; 3]);
    assert!(server.asked().is_empty());
    let left = sandbox.run(&format!("{stray}origins = [\"{url}\"]\n{ECHO}")).exits(0).left();
    assert_eq!((left.counts(), server.asked().len()), ([3, 3, 0], 3));
}
