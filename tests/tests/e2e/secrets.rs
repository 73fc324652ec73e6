//! Keys: sent only where the run file grants them, and written nowhere.

use host_tests::{
    built,
    fake_tgi::{FakeTgi, Fault},
    sandbox::{Outcome, Sandbox},
    scripted::{Scripted, reply},
};

use super::{ECHO, echoes, tgi};

const KEY: &str = "sk-canary-0123456789abcdef";
const ECHOED: &str =
    "{\"error\": \"the key sk-canary-0123456789abcdef is bad\", \"error_type\": \"validation\"}";

/// Runs two samples with the key in the environment.
fn with_key(backend: &str, plugin: Option<&std::path::Path>) -> (Outcome, Sandbox) {
    let sandbox = Sandbox::new();
    if let Some(plugin) = plugin {
        sandbox.install(plugin, "plugins");
    }
    sandbox.write("data.jsonl", echoes(2));
    let mut command = sandbox.run_command(&format!("run.max_retries = 0\n{backend}{ECHO}"), &[]);
    command.env("TGI_API_KEY", KEY).env("ACME_API_KEY", KEY);
    (sandbox.finish(command), sandbox)
}

/// Checks that the key is in no file of the run directory and in no stream.
fn assert_nowhere(outcome: &Outcome) {
    assert_not_shown(outcome);
    let left = outcome.left().bytes();
    assert!(!left.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
}

/// Checks that the key is in no stream.
fn assert_not_shown(outcome: &Outcome) {
    assert!(!outcome.stdout.contains(KEY) && !outcome.stderr.contains(KEY));
}

#[test]
fn a_key_goes_where_it_is_granted_and_is_written_nowhere() {
    let fake = FakeTgi::builder().api_key(KEY).start_blocking().unwrap();
    let (outcome, _sandbox) = with_key(&format!("{}secrets = [\"api_key\"]\n", tgi(&fake)), None);
    let outcome = outcome.exits(0);
    let sent: Vec<_> =
        fake.requests().into_iter().filter(|request| request.route == "/generate").collect();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter()
            .all(|request| request.authorization.as_deref() == Some(&format!("Bearer {KEY}")))
    );
    assert_nowhere(&outcome);
}

#[test]
fn a_key_that_is_not_granted_stays_at_home() {
    let fake = FakeTgi::builder().api_key(KEY).start_blocking().unwrap();
    let (outcome, _sandbox) = with_key(&tgi(&fake), None);
    assert!(fake.requests().iter().all(|request| request.authorization.is_none()));
    assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    let shown = format!("{}{}", outcome.stderr, outcome.stdout);
    assert!(!shown.contains(KEY));
}

#[test]
fn a_server_that_echoes_the_key_gets_it_written_nowhere() {
    let says = FakeTgi::builder().text(|_| format!("your key is {KEY}")).start_blocking().unwrap();
    let (outcome, _sandbox) = with_key(&format!("{}secrets = [\"api_key\"]\n", tgi(&says)), None);
    let outcome = outcome.exits(0);
    assert_nowhere(&outcome);
    let left = outcome.left();
    let text = left.journal[0]["response"]["completion"]["choices"][0]["text"].as_str().unwrap();
    assert_eq!(text, "your key is [redacted:api_key]");

    let refuses =
        FakeTgi::builder().faults(|_, _| Some(Fault::Raw(422, ECHOED))).start_blocking().unwrap();
    let (outcome, _sandbox) =
        with_key(&format!("{}secrets = [\"api_key\"]\n", tgi(&refuses)), None);
    let outcome = outcome.exits(3);
    assert_nowhere(&outcome);
    assert!(outcome.left().journal[0]["error"].to_string().contains("[redacted:api_key]"));
}

#[test]
fn a_redirect_takes_neither_key_nor_prompt_to_another_origin() {
    let other = Scripted::start(|_| {
        reply(200, "", "{\"text\": \"x\", \"ended_by\": \"end\", \"tokens\": [1, 1]}")
    });
    let target = format!("location: {}/complete\r\n", other.url());
    let server = Scripted::start(move |_| reply(307, &target, ""));
    let backend = format!(
        "[[backend]]\nplugin = \"acme\"\nbase_url = \"{}\"\nsecrets = [\"api_key\"]\n",
        server.url()
    );
    let (outcome, _sandbox) = with_key(&backend, Some(built::acme()));
    let left = outcome.exits(3).left();
    assert!(server.asked()[0].headers.contains(KEY));
    assert!(other.asked().is_empty());
    assert_eq!(left.reasons(), ["forbidden_origin"; 2]);
}

#[test]
fn granting_a_slot_that_the_plugin_does_not_have_is_told() {
    let fake = FakeTgi::start_blocking().unwrap();
    let (outcome, _sandbox) = with_key(&format!("{}secrets = [\"apikey\"]\n", tgi(&fake)), None);
    let _ = outcome.exits(2).says(&["apikey", "api_key"]);
    assert!(fake.requests().is_empty());
}

#[test]
fn a_key_that_is_a_word_of_the_hosts_files_is_no_secret_and_spoils_none() {
    let fake =
        FakeTgi::builder().text(|_| "your key is length".to_owned()).start_blocking().unwrap();
    let run = format!("{}secrets = [\"api_key\"]\n{ECHO}", tgi(&fake));
    // One that finish reasons hold, one that the run file holds.
    for word in ["length", "says"] {
        let sandbox = Sandbox::new();
        sandbox.write("data.jsonl", echoes(2));
        let outcome = sandbox.run_with(&run, &[("TGI_API_KEY", word)]).exits(0);
        let outcome = outcome.says(&["the secret `api_key` is a word", "not hidden"]);
        assert!(!String::from_utf8_lossy(&outcome.left().bytes()).contains("[redacted"));
        let mut again = sandbox.host(["resume", &outcome.folders()[0].display().to_string()]);
        again.env("TGI_API_KEY", word);
        let _ = sandbox.finish(again).exits(0);
    }
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(2));
    let outcome = sandbox.run_with(&run, &[("TGI_API_KEY", "none-needed")]).exits(0);
    assert!(!outcome.stderr.contains("is a word"), "{}", outcome.stderr);
}

#[test]
fn a_plugin_that_asks_to_be_told_a_secret_is_refused_and_does_not_run() {
    let sandbox = Sandbox::new();
    sandbox.write("plugins/raw.py", "open('ran', 'w')\n");
    sandbox.write(
        "plugins/raw.plugin.toml",
        "kind = \"script\"\nformat = 1\nid = \"raw\"\nversion = \"1.0\"\nabi = \"1.0\"\n\
         command = [\"python3\", \"{folder}/raw.py\"]\ncapabilities = [\"generate\"]\n\
         env = [\"HOME\", \"Aws_Secret_Access_Key\"]\n",
    );
    sandbox.write("data.jsonl", echoes(2));
    let run = format!("[[backend]]\nplugin = \"raw\"\n{ECHO}");
    let outcome = sandbox.run_with(&run, &[("Aws_Secret_Access_Key", KEY)]).exits(5);
    assert_not_shown(&outcome);
    let _ = outcome.says(&[
        "plugin `raw`",
        "raw.plugin.toml",
        "`env`",
        "Aws_Secret_Access_Key",
        "slot",
    ]);
    assert!(!sandbox.path("plugins/ran").exists() && !sandbox.path("ran").exists());
}
