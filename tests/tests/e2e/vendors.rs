//! Five vendors in one run: side by side, each with its own key, none the worse for another's failure.

use std::sync::Arc;

use host_tests::{
    left::{Left, counts},
    mock::Mock,
    sandbox::{Outcome, Sandbox},
    scripted::{Asked, Scripted, reply},
};

use super::{ECHO, echoes};

/// Backend, provider, model and flavor of the mock; the key's variable.
const VENDORS: [(&str, &str, &str, &str); 5] = [
    ("openai", "openai/gpt-4o-mini", "openai", "OPENAI_API_KEY"),
    ("anthropic", "anthropic/claude-sonnet-4-5", "anthropic", "ANTHROPIC_API_KEY"),
    ("google", "gemini/gemini-2.5-flash", "gemini", "GEMINI_API_KEY"),
    ("grok", "xai/grok-4.20-non-reasoning", "xai", "XAI_API_KEY"),
    ("kimi", "moonshot/kimi-k2.6", "moonshot", "MOONSHOT_API_KEY"),
];

/// The slot of a vendor's key is called as the provider is.
fn slot(model: &str) -> &str {
    model.split_once('/').unwrap().0
}

/// A run file of the five at these addresses, `secrets` granted where asked.
fn five(url: impl Fn(&str) -> String, secrets: bool) -> String {
    let mut text = String::from("[run]\nmax_retries = 0\nattempt_timeout = \"20s\"\n");
    for (id, model, flavor, _) in VENDORS {
        let url = url(flavor);
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nplugin = \"litellm\"\nmodel = \"{model}\"\nbase_url = \"{url}\"\n"
        ));
        if secrets {
            text.push_str(&format!("secrets = [\"{}\"]\n", slot(model)));
        }
    }
    text.push_str(ECHO);
    text
}

fn run(text: &str, variables: &[(&str, &str)]) -> (Outcome, Sandbox) {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(4));
    (sandbox.run_with(text, variables), sandbox)
}

#[test]
fn five_vendors_give_one_table_with_tokens_cost_and_latency_each() {
    let (outcome, _sandbox) = run(&five(|flavor| format!("mock:{flavor}"), false), &[]);
    let outcome = outcome.exits(0);
    for (id, ..) in VENDORS {
        let row = outcome.stdout.lines().find(|line| line.contains(id)).unwrap();
        assert!(row.contains('$'), "no cost in {row}");
    }
    let left = outcome.left();
    assert_eq!(left.summary["results"].as_array().unwrap().len(), 5);
    for (id, ..) in VENDORS {
        let result = left.of_backend(id);
        assert_eq!(counts(result), [4, 4, 0], "{result}");
        assert!(result["tokens"]["prompt"].as_u64().unwrap() > 0, "{result}");
        assert!(result["tokens"]["completion"].as_u64().unwrap() > 0, "{result}");
        assert!(result["cost"]["usd"].as_f64().unwrap() > 0.0, "{result}");
        assert_eq!(result["cost"]["estimate"], true, "{result}");
        assert!(result["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{result}");
    }
}

#[test]
fn one_vendor_that_is_down_does_not_stop_the_other_four() {
    let mock = Mock::start(&[]);
    // Nothing listens on the discard port.
    let url = |flavor: &str| match flavor {
        "xai" => "http://127.0.0.1:9".to_owned(),
        other => mock.url(other),
    };
    let (outcome, _sandbox) = run(&five(url, false), &[]);
    let left = outcome.exits(3).left();
    for (id, ..) in VENDORS {
        let result = left.of_backend(id);
        if id == "grok" {
            assert_eq!(counts(result), [4, 0, 4]);
            assert_eq!(result["unscored_reasons"]["transport"], 4, "{result}");
        } else {
            assert_eq!(counts(result), [4, 4, 0], "{result}");
        }
    }
}

/// How every key of these tests begins. No text holds it by chance.
pub(super) const CANARY: &str = "sk-canary-";

/// The key of a variable.
pub(super) fn canary(variable: &str) -> String {
    format!("{CANARY}{}-5f1c7e93", variable.to_lowercase().replace('_', "-"))
}

fn canaries() -> Vec<(&'static str, String)> {
    VENDORS.iter().map(|(_, _, _, variable)| (*variable, canary(variable))).collect()
}

/// An error that echoes every header.
pub(super) fn refused(asked: &Asked) -> Vec<u8> {
    let headers = asked.headers.replace(['\r', '\n', '"', '\\'], " ");
    reply(400, "", &format!("{{\"error\": {{\"message\": \"no: {headers}\"}}}}"))
}

/// Five servers that remember what they were asked and refuse it.
fn echoing() -> Vec<(&'static str, Arc<Scripted>)> {
    VENDORS.iter().map(|(_, _, flavor, _)| (*flavor, Arc::new(Scripted::start(refused)))).collect()
}

/// Neither a key nor the beginning of one is in these.
pub(super) fn nowhere(texts: &[&[u8]]) {
    for text in texts {
        let found = text.windows(CANARY.len()).position(|window| window == CANARY.as_bytes());
        let shown = |at: usize| String::from_utf8_lossy(&text[at..text.len().min(at + 60)]);
        assert_eq!(found.map(shown), None);
    }
}

#[test]
fn a_key_goes_to_its_own_vendor_only_and_is_written_nowhere() {
    let servers = echoing();
    let url = |flavor: &str| {
        let (_, server) = servers.iter().find(|(name, _)| *name == flavor).unwrap();
        server.url()
    };
    let canaries = canaries();
    let variables: Vec<(&str, &str)> =
        canaries.iter().map(|(name, key)| (*name, key.as_str())).collect();
    let (outcome, _sandbox) = run(&five(url, true), &variables);
    let outcome = outcome.exits(2);
    nowhere(&[outcome.stdout.as_bytes(), outcome.stderr.as_bytes(), &outcome.left().bytes()]);
    for ((_, model, flavor, variable), (_, server)) in VENDORS.iter().zip(&servers) {
        let asked = server.asked();
        assert!(!asked.is_empty(), "{flavor}");
        for request in asked {
            let all = format!("{}\n{}\n{}", request.line, request.headers, request.body);
            assert!(request.headers.contains(&canary(variable)), "{model}: {all}");
            for (other, key) in &canaries {
                assert!(other == variable || !all.contains(key), "{model} got {other}: {all}");
            }
        }
    }
}

#[test]
fn a_key_that_is_not_granted_to_an_address_stays_at_home() {
    let servers = echoing();
    let url = |flavor: &str| {
        let (_, server) = servers.iter().find(|(name, _)| *name == flavor).unwrap();
        server.url()
    };
    let canaries = canaries();
    let variables: Vec<(&str, &str)> =
        canaries.iter().map(|(name, key)| (*name, key.as_str())).collect();
    let (outcome, sandbox) = run(&five(url, false), &variables);
    nowhere(&[outcome.stdout.as_bytes(), outcome.stderr.as_bytes()]);
    for folder in outcome.folders() {
        nowhere(&[&Left::read(&folder).bytes()]);
    }
    for (_, server) in &servers {
        for request in server.asked() {
            nowhere(&[
                request.headers.as_bytes(),
                request.body.as_bytes(),
                request.line.as_bytes(),
            ]);
        }
    }
    drop(sandbox);
}
