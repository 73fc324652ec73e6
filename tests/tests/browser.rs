//! `report.html` in a real browser. Without one these tests pass over themselves and say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use host_tests::{browser::Browser, built, sandbox::Sandbox};

/// A plugin that says what it is asked, and questions whose prompt is this template. They are asked one after the other:
/// a page shows samples in the order in which they were finished.
fn run_file(prompt: &str) -> String {
    format!(
        r#"
run.concurrency = 1

[[backend]]
plugin = "hostile"
config.mode = "echo"

[[task]]
id = "t"
kind = "generate"
target = "{{{{ target }}}}"
data.path = "data.jsonl"
prompt.user = "{prompt}"
"#
    )
}

/// Texts that a page must not take for its own.
const MARKUP: &str = "</script><img src=x onerror=\"window.taken = true\"><b>bold</b> & more";

/// `n` records, of which every fifth has another target than what is asked to be said.
fn records(n: usize) -> String {
    let one = |i: usize| {
        let says = if i == 3 { MARKUP.to_owned() } else { format!("word {i}") };
        let target = if i.is_multiple_of(5) { "another".to_owned() } else { says.clone() };
        format!(
            "{}\n",
            serde_json::json!({ "says": says, "target": target, "extra": format!("needle{i}") })
        )
    };
    (0..n).map(one).collect()
}

fn sandbox(n: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.install(built::hostile(), "plugins");
    sandbox.write("data.jsonl", records(n));
    sandbox
}

/// Runs, and gives the run directory.
fn run(sandbox: &Sandbox, prompt: &str) -> PathBuf {
    sandbox.run(&run_file(prompt)).exits(0).left().path
}

fn shown(browser: &mut Browser) -> String {
    browser.text("#status").replace('\u{202f}', " ")
}

#[test]
fn filters_search_and_samples_work_and_the_page_asks_for_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = sandbox(50);
    let report = run(&sandbox, "{{ says }}").join("report.html");
    browser.open(&report);
    assert_eq!(shown(&mut browser), "50 of 50 samples");
    for (filter, count) in
        [("all", 50), ("scored", 50), ("unscored", 0), ("right", 40), ("wrong", 10)]
    {
        let selector = format!("[data-filter={filter}]");
        browser.click(&selector);
        assert_eq!(shown(&mut browser), format!("{count} of 50 samples"), "{filter}");
        let beside = browser.value(&format!("document.querySelector('{selector}').dataset.count"));
        assert_eq!(beside, count.to_string());
    }
    // The first wrong one, by mouse, and the next by key.
    browser.click("#list .row");
    browser.until("document.querySelector('#detail h3')?.textContent === '0 wrong'");
    let detail = browser.text("#detail");
    for part in
        ["Promptword 0", "Rightanother", "Replyword 0", "Read out of itword 0", "exact_match0"]
    {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    browser.press("j");
    browser.until("document.querySelector('#detail h3')?.textContent === '5 wrong'");
    // What stands in a prompt is found, and shown as the text that it is.
    browser.click("[data-filter=all]");
    browser.type_into("#search", "onerror=");
    browser.until("document.querySelector('#status').textContent === '1 of 50 samples'");
    browser.click("#list .row");
    browser.until("document.querySelector('#detail h3')?.textContent === '3 right'");
    assert!(browser.text("#detail pre").contains(MARKUP));
    assert_eq!(browser.text("#detail mark"), "onerror=");
    assert_eq!(browser.count("#detail b, #detail img"), 0);
    assert_eq!(browser.value("window.taken ?? null"), serde_json::Value::Null);
    browser.type_into("#search", "nothing says this");
    browser.until("document.querySelector('#status').textContent.startsWith('0 of')");
    // Charts are there without the script.
    assert!(browser.count("figure svg.chart rect.fill") > 0);
    assert!(browser.count("svg.interval circle") == 1);
    let others: Vec<&String> = browser
        .requested()
        .iter()
        .filter(|url| !url.starts_with("data:") && !url.ends_with("/report.html"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(browser.complaints(), [] as [String; 0]);
}

#[test]
fn two_runs_are_shown_side_by_side_with_what_flipped() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = sandbox(20);
    let first = run(&sandbox, "{{ says }}");
    let second = run(&sandbox, "{{ says }}{{ '!' if says.endswith('1') else '' }}");
    let mut command = sandbox.host(["report"]);
    command.args([&first, &second]).arg("--out").arg(sandbox.path("both.html"));
    let _ = sandbox.finish(command).exits(0);
    browser.open(&sandbox.path("both.html"));
    // `word 1` and `word 11`.
    for (filter, count) in [("all", 20), ("flipped", 2), ("lost", 2), ("won", 0), ("alone", 0)] {
        browser.click(&format!("[data-filter={filter}]"));
        assert_eq!(shown(&mut browser), format!("{count} of 20 samples"), "{filter}");
    }
    browser.click("[data-filter=flipped]");
    browser.click("#list .row");
    browser.until("document.querySelector('#detail .both')");
    let detail = browser.text("#detail");
    for part in ["A right", "B wrong", "Prompt of A", "Prompt of B", "Replyword 1!"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(browser.complaints(), [] as [String; 0]);
}

#[test]
fn a_long_list_draws_what_is_seen_and_fits_a_narrow_screen() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = sandbox(3_000);
    let report = run(&sandbox, "{{ says }}").join("report.html");
    browser.open(&report);
    for width in [1280, 400] {
        browser.size(width, 900);
        let drawn = browser.count("#list .row");
        assert!((5..100).contains(&drawn), "{drawn} rows are drawn");
        let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= u64::from(width), "{wide} of {width}");
    }
    browser.value("document.querySelector('#list').scrollTop = 1e9");
    browser.until("document.querySelector('#list .row:last-child').id === 'r2999'");
    assert_eq!(browser.complaints(), [] as [String; 0]);
}
