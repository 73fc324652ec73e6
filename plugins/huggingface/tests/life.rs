//! An endpoint's whole life, against a management API that is a small state machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::{Does, Run, Sent, open, run};
use huggingface::HuggingFace;
use plugin_api::{Answer, ErrorKind, Held, Prompt, Request};
use serde_json::{Value, json};

const BASE: &str = "http://127.0.0.1:9/huggingface";
const HELD: &str = "endpoint acme/piqa";

/// The service. An endpoint comes up after `steps` looks at it.
struct Hub {
    endpoint: Option<Made>,
    /// Looks until a new or resumed endpoint runs.
    steps: u32,
    /// Health checks that are answered 503 once it runs.
    unhealthy: u32,
    /// States that machines of this type come to instead of running.
    broken: Vec<&'static str>,
    /// The next request of this line gets this.
    next: Option<(&'static str, Does)>,
}

#[derive(Clone, Debug)]
struct Made {
    state: &'static str,
    repository: String,
    machine: String,
    left: u32,
}

impl Hub {
    fn empty() -> Self {
        Self { endpoint: None, steps: 2, unhealthy: 0, broken: Vec::new(), next: None }
    }

    fn with(state: &'static str) -> Self {
        let made = Made {
            state,
            repository: "acme/m-7b".to_owned(),
            machine: "nvidia-t4".to_owned(),
            left: 0,
        };
        Self { endpoint: Some(made), ..Self::empty() }
    }

    fn answer(&mut self, sent: &Sent) -> Does {
        let line = format!("{} {}", sent.method, sent.url.strip_prefix(BASE).unwrap());
        if self.next.as_ref().is_some_and(|(on, _)| *on == line) {
            return self.next.take().unwrap().1;
        }
        match line.as_str() {
            "GET /api/whoami-v2" => common::json(200, &json!({ "type": "user", "name": "acme" })),
            "GET /v2/endpoint/acme/piqa" => self.look(),
            "POST /v2/endpoint/acme" => {
                if self.endpoint.is_some() {
                    return common::json(
                        409,
                        &json!({ "error": "Endpoint with name piqa already exists" }),
                    );
                }
                self.endpoint = Some(Made {
                    state: "pending",
                    repository: sent.body["model"]["repository"].as_str().unwrap().to_owned(),
                    machine: sent.body["compute"]["instanceType"].as_str().unwrap().to_owned(),
                    left: self.steps,
                });
                self.shown(200)
            }
            "POST /v2/endpoint/acme/piqa/resume" => self.become_("initializing"),
            "POST /v2/endpoint/acme/piqa/pause" => self.become_("paused"),
            "POST /v2/endpoint/acme/piqa/scale-to-zero" => self.become_("scaledToZero"),
            "DELETE /v2/endpoint/acme/piqa" => {
                self.endpoint = None;
                common::text(202, "")
            }
            "GET /e/piqa/health" => self.health(),
            "GET /e/piqa/info" => {
                common::json(200, &json!({ "model_id": "/repository", "max_total_tokens": 2048 }))
            }
            "POST /e/piqa/generate" => common::json(200, &json!({ "generated_text": " A" })),
            other => panic!("{other}"),
        }
    }

    fn become_(&mut self, state: &'static str) -> Does {
        let steps = self.steps;
        let Some(made) = &mut self.endpoint else {
            return common::json(404, &json!({ "error": "not found" }));
        };
        made.state = state;
        made.left = steps;
        self.shown(200)
    }

    fn look(&mut self) -> Does {
        let broken = self.broken.clone();
        if let Some(made) = &mut self.endpoint
            && matches!(made.state, "pending" | "initializing")
        {
            made.left = made.left.saturating_sub(1);
            made.state = match made.left {
                0 if broken.contains(&made.machine.as_str()) => "failed",
                0 => "running",
                _ => "initializing",
            };
        }
        self.shown(200)
    }

    fn shown(&self, status: u16) -> Does {
        let Some(made) = &self.endpoint else {
            return common::json(404, &json!({ "error": "not found" }));
        };
        let url =
            matches!(made.state, "running" | "scaledToZero").then(|| format!("{BASE}/e/piqa/"));
        common::json(
            status,
            &json!({ "name": "piqa", "type": "authenticated", "healthRoute": "/health",
                     "model": { "repository": made.repository, "revision": "abc", "framework": "pytorch", "task": "text-generation" },
                     "status": { "state": made.state, "url": url, "message": "as it is" } }),
        )
    }

    /// A request wakes one that is scaled to zero.
    fn health(&mut self) -> Does {
        let made = self.endpoint.as_mut().unwrap();
        if made.state == "scaledToZero" {
            made.state = "initializing";
            made.left = 1;
            return common::text(503, "");
        }
        if self.unhealthy > 0 {
            self.unhealthy -= 1;
            return common::text(503, "");
        }
        common::text(200, "")
    }

    fn state(&self) -> Option<&'static str> {
        self.endpoint.as_ref().map(|made| made.state)
    }
}

fn config(more: &Value) -> Value {
    let mut config = json!({
        "mode": "endpoint", "base_url": BASE, "name": "piqa", "namespace": "acme", "model": "acme/m-7b",
        "instance_type": "nvidia-a10g", "instance_size": "x1",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn prepare(plugin: &Arc<HuggingFace>, held: Vec<Held>, hub: &mut Hub) -> Run {
    run(plugin, Request::Prepare(held), &mut |sent| hub.answer(sent))
}

fn release(plugin: &Arc<HuggingFace>, held: Vec<Held>, hub: &mut Hub) -> Run {
    run(plugin, Request::Release(held), &mut |sent| hub.answer(sent))
}

fn is_ready(run: &Run) -> bool {
    matches!(run.result, Some(Ok(Answer::Nothing)))
}

/// Where in the log a line stands.
fn at(run: &Run, line: &str) -> usize {
    run.log.iter().position(|l| l == line).unwrap_or_else(|| panic!("{line} in {:?}", run.log))
}

fn did(run: &Run, line: &str) -> bool {
    run.log.iter().any(|l| l == line)
}

const RESUME: &str = "POST /huggingface/v2/endpoint/acme/piqa/resume";
const PAUSE: &str = "POST /huggingface/v2/endpoint/acme/piqa/pause";
const TO_ZERO: &str = "POST /huggingface/v2/endpoint/acme/piqa/scale-to-zero";
const CREATE: &str = "POST /huggingface/v2/endpoint/acme";
const DELETE: &str = "DELETE /huggingface/v2/endpoint/acme/piqa";

/// The mistake of the earlier system: one that ran already fell through to "not ready" (prior-system.md 1.5).
#[test]
fn one_that_runs_is_used_at_once_and_left_running() {
    let plugin = open(&config(&json!({})), true);
    let mut hub = Hub::with("running");
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert!(is_ready(&run), "{run:?}");
    assert_eq!(
        run.log,
        [
            "GET /huggingface/v2/endpoint/acme/piqa",
            "GET /huggingface/e/piqa/health",
            "GET /huggingface/e/piqa/info"
        ]
    );
    assert!(run.held.is_empty());
    assert!(run.sent.iter().all(|sent| sent.header("authorization") == Some("Bearer {hf_token}")));
    let run = release(&plugin, run.held, &mut hub);
    assert!(is_ready(&run) && run.log.is_empty());
    assert_eq!(hub.state(), Some("running"));
}

#[test]
fn one_that_is_not_there_is_noted_created_waited_for_used_and_freed() {
    for (on_finish, line, after) in [("pause", PAUSE, Some("paused")), ("delete", DELETE, None)] {
        let plugin = open(&config(&json!({ "on_finish": on_finish, "poll_interval": 7 })), true);
        let mut hub = Hub { unhealthy: 1, ..Hub::empty() };
        let prepared = prepare(&plugin, Vec::new(), &mut hub);
        assert!(is_ready(&prepared), "{prepared:?}");
        assert!(at(&prepared, &format!("hold {HELD}")) < at(&prepared, CREATE));
        // Running is not enough: its own health route must answer.
        assert_eq!(prepared.log.iter().filter(|line| *line == "wait 7000").count(), 3);
        assert_eq!(prepared.held.len(), 1);

        let generated =
            run(&plugin, Request::Generate(common::generate(Prompt::Text("Q"))), &mut |sent| {
                hub.answer(sent)
            });
        assert_eq!(generated.log, ["POST /huggingface/e/piqa/generate"]);
        assert_eq!(generated.completion().choices[0].text, " A");

        let released = release(&plugin, prepared.held, &mut hub);
        assert!(is_ready(&released), "{released:?}");
        assert!(at(&released, line) < at(&released, &format!("free {HELD}")));
        assert!(released.held.is_empty());
        assert_eq!(hub.state(), after);
    }
}

#[test]
fn one_that_is_kept_is_not_noted() {
    let plugin = open(&config(&json!({ "on_finish": "keep" })), true);
    let mut hub = Hub::empty();
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert!(is_ready(&run) && run.held.is_empty());
    assert!(is_ready(&release(&plugin, Vec::new(), &mut hub)));
    assert_eq!(hub.state(), Some("running"));
}

#[test]
fn one_that_is_paused_is_resumed_and_paused_again_even_where_new_ones_are_deleted() {
    for on_finish in ["pause", "delete"] {
        let plugin = open(&config(&json!({ "on_finish": on_finish })), true);
        let mut hub = Hub::with("paused");
        let run = prepare(&plugin, Vec::new(), &mut hub);
        assert!(is_ready(&run), "{run:?}");
        assert!(at(&run, &format!("hold {HELD}")) < at(&run, RESUME));
        let run = release(&plugin, run.held, &mut hub);
        assert!(is_ready(&run) && did(&run, PAUSE) && !did(&run, DELETE));
        assert_eq!(hub.state(), Some("paused"));
    }
}

#[test]
fn one_that_is_scaled_to_zero_is_woken_by_a_request_and_scaled_back() {
    let plugin = open(&config(&json!({ "scale_up_timeout": 60 })), true);
    let mut hub = Hub::with("scaledToZero");
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert!(is_ready(&run), "{run:?}");
    assert!(!did(&run, RESUME));
    let health = run.sent.iter().find(|sent| sent.url.ends_with("/health")).unwrap();
    assert_eq!(health.header("x-scale-up-timeout"), Some("60"));
    let management = run.sent.iter().find(|sent| sent.url.contains("/v2/")).unwrap();
    assert_eq!(management.header("x-scale-up-timeout"), None);
    let run = release(&plugin, run.held, &mut hub);
    assert!(is_ready(&run) && did(&run, TO_ZERO));
    assert_eq!(hub.state(), Some("scaledToZero"));
}

/// prior-system.md 1.14: adopts an existing endpoint on conflict.
#[test]
fn one_that_somebody_made_meanwhile_is_adopted_and_is_not_ours_to_delete() {
    let plugin = open(&config(&json!({ "on_finish": "delete" })), true);
    let mut hub = Hub::with("running");
    hub.next =
        Some(("GET /v2/endpoint/acme/piqa", common::json(404, &json!({ "error": "not found" }))));
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert!(is_ready(&run), "{run:?}");
    assert!(at(&run, CREATE) < at(&run, &format!("free {HELD}")));
    assert!(run.held.is_empty());
    release(&plugin, run.held, &mut hub);
    assert_eq!(hub.state(), Some("running"));
}

#[test]
fn one_that_is_there_is_an_error_where_it_shall_not_be_reused_or_serves_something_else() {
    for (more, state, says) in [
        (json!({ "reuse_existing": false }), "running", "reuse_existing"),
        (json!({ "model": "acme/other" }), "running", "`acme/m-7b`, not `acme/other`"),
        (json!({ "model": "acme/other" }), "paused", "`acme/m-7b`, not `acme/other`"),
        (json!({ "revision": "main" }), "running", "revision"),
        (json!({ "auto_start": false }), "paused", "auto_start"),
    ] {
        let plugin = open(&config(&more), true);
        let mut hub = Hub::with(state);
        let run = prepare(&plugin, Vec::new(), &mut hub);
        assert!(run.held.is_empty() && run.log.len() == 1, "{run:?}");
        let error = run.error();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert!(error.message.contains(says), "{error}");
        assert_eq!(hub.state(), Some(state));
    }
}

#[test]
fn what_is_missing_to_create_one_is_said_before_anything_is_sent() {
    for (more, says) in [
        (json!({ "auto_start": false }), "auto_start"),
        (json!({ "instance_type": null, "instance_size": null }), "instance_type"),
        (json!({ "model": null }), "model"),
    ] {
        let plugin = open(&config(&more), true);
        let run = prepare(&plugin, Vec::new(), &mut Hub::empty());
        assert!(run.log.len() == 1 && run.held.is_empty(), "{run:?}");
        assert!(run.error().message.contains(says));
    }
}

#[test]
fn the_tokens_user_is_asked_for_where_no_namespace_is_said() {
    let mut given = config(&json!({}));
    given.as_object_mut().unwrap().remove("namespace");
    let plugin = open(&given, true);
    let run = prepare(&plugin, Vec::new(), &mut Hub::with("running"));
    assert!(is_ready(&run));
    assert_eq!(
        run.log[..2],
        ["GET /huggingface/api/whoami-v2", "GET /huggingface/v2/endpoint/acme/piqa"]
    );

    let mut hub = Hub::empty();
    hub.next = Some((
        "GET /api/whoami-v2",
        common::json(401, &json!({ "error": "Invalid username or password." })),
    ));
    let error = prepare(&plugin, Vec::new(), &mut hub).error();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.message.contains("`namespace`") && error.message.contains("HF_TOKEN"), "{error}");
}

#[test]
fn one_that_fails_to_start_fails_at_once_and_is_freed() {
    for (on_finish, after) in [("pause", Some("paused")), ("delete", None)] {
        let plugin = open(&config(&json!({ "on_finish": on_finish })), true);
        let mut hub = Hub { broken: vec!["nvidia-a10g"], ..Hub::empty() };
        let run = prepare(&plugin, Vec::new(), &mut hub);
        assert_eq!(run.log.iter().filter(|line| line.starts_with("wait")).count(), 2);
        assert!(run.held.is_empty(), "{run:?}");
        let error = run.error();
        assert_eq!(error.kind, ErrorKind::Other);
        assert!(error.message.contains("failed: as it is"), "{error}");
        assert_eq!(hub.state(), after);
    }
    // One that was there is left as it is.
    let plugin = open(&config(&json!({ "on_finish": "delete" })), true);
    let mut hub = Hub::with("failed");
    assert!(prepare(&plugin, Vec::new(), &mut hub).error().message.contains("does not start"));
    assert_eq!(hub.state(), Some("failed"));
}

/// prior-system.md 1.14: steps up hardware on failed start.
#[test]
fn one_that_fails_to_start_is_created_anew_on_the_next_machine() {
    let more = json!({ "on_finish": "delete", "fallback_instances": [
        { "instance_type": "nvidia-t4", "instance_size": "x4" },
        { "instance_type": "nvidia-a100", "instance_size": "x1" }] });
    let plugin = open(&config(&more), true);
    let mut hub = Hub { broken: vec!["nvidia-a10g", "nvidia-t4"], ..Hub::empty() };
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert!(is_ready(&run), "{run:?}");
    let machines: Vec<_> = run
        .sent
        .iter()
        .filter(|sent| sent.method == "POST")
        .map(|sent| sent.body["compute"]["instanceType"].as_str().unwrap())
        .collect();
    assert_eq!(machines, ["nvidia-a10g", "nvidia-t4", "nvidia-a100"]);
    // The note of the first one stands for all of them.
    assert_eq!(run.log.iter().filter(|line| line.starts_with("hold")).count(), 1);
    release(&plugin, run.held, &mut hub);
    assert_eq!(hub.state(), None);
}

#[test]
fn one_that_does_not_come_up_in_time_is_freed() {
    let plugin = open(&config(&json!({ "wait_timeout": 12 })), true);
    let mut hub = Hub { steps: 1000, ..Hub::empty() };
    let run = prepare(&plugin, Vec::new(), &mut hub);
    let waits: Vec<_> = run.log.iter().filter(|line| line.starts_with("wait")).collect();
    assert_eq!(waits, ["wait 5000", "wait 5000", "wait 2000"]);
    assert!(run.held.is_empty());
    let error = run.error();
    // None that the host would try again.
    assert_eq!(error.kind, ErrorKind::Other);
    assert!(
        error.message.contains("within 12 s") && error.message.contains("wait_timeout"),
        "{error}"
    );
    assert_eq!(hub.state(), Some("paused"));

    // The host's own deadline leaves time to free it.
    let plugin = open(&config(&json!({})), true);
    let mut hub = Hub { steps: 1000, ..Hub::empty() };
    assert!(prepare(&plugin, Vec::new(), &mut hub).error().message.contains("within 40 s"));
}

#[test]
fn a_look_that_fails_does_not_end_what_has_been_started() {
    for does in
        [Does::Break, common::text(502, "<html>"), common::json(429, &json!({ "error": "slow" }))]
    {
        let plugin = open(&config(&json!({})), true);
        let mut hub = Hub::empty();
        let mut looks = 0;
        let run = run(&plugin, Request::Prepare(Vec::new()), &mut |sent| {
            if sent.method == "GET" && sent.url.ends_with("/piqa") {
                looks += 1;
            }
            if looks == 2 {
                looks += 1;
                does.clone()
            } else {
                hub.answer(sent)
            }
        });
        assert!(is_ready(&run), "{run:?}");
    }
}

#[test]
fn a_refusal_to_create_leaves_nothing_noted_and_no_answer_leaves_nothing_running() {
    for (does, kind) in [
        (
            common::json(400, &json!({ "error": "instance not available" })),
            ErrorKind::InvalidRequest,
        ),
        (common::json(401, &json!({ "error": "bad token" })), ErrorKind::Unauthorized),
        (common::json(402, &json!({ "error": "no card" })), ErrorKind::Unauthorized),
        (common::json(403, &json!({ "error": "not allowed" })), ErrorKind::Unauthorized),
    ] {
        let plugin = open(&config(&json!({})), true);
        let mut hub = Hub { next: Some(("POST /v2/endpoint/acme", does)), ..Hub::empty() };
        let run = prepare(&plugin, Vec::new(), &mut hub);
        assert!(run.held.is_empty(), "{run:?}");
        assert_eq!(run.error().kind, kind);
    }
    // The answer is lost, the endpoint is not: it is looked for and freed.
    let plugin = open(&config(&json!({ "on_finish": "delete" })), true);
    let mut hub = Hub::empty();
    let run = run(&plugin, Request::Prepare(Vec::new()), &mut |sent| {
        let does = hub.answer(sent);
        if sent.method == "POST" { Does::Break } else { does }
    });
    assert!(did(&run, DELETE) && run.held.is_empty(), "{run:?}");
    assert_eq!(run.error().kind, ErrorKind::Transport);
    assert_eq!(hub.state(), None);
}

#[test]
fn what_cannot_be_freed_stays_noted_and_is_said() {
    let plugin = open(&config(&json!({ "wait_timeout": 5 })), true);
    let mut hub = Hub { steps: 1000, ..Hub::empty() };
    hub.next =
        Some(("POST /v2/endpoint/acme/piqa/pause", common::json(500, &json!({ "error": "no" }))));
    let run = prepare(&plugin, Vec::new(), &mut hub);
    assert_eq!(run.held.len(), 1);
    let held = run.held.clone();
    assert!(run.error().message.contains("stays noted"));
    let run = release(&plugin, held, &mut hub);
    assert!(is_ready(&run) && run.held.is_empty());
    assert_eq!(hub.state(), Some("paused"));
}

/// A run that is killed at any request, and another process that has the notes and nothing else.
#[test]
fn a_run_that_is_killed_anywhere_is_freed_from_its_notes_alone() {
    for (before, on_finish, after) in [
        (None, "delete", None),
        (None, "pause", Some("paused")),
        (Some("paused"), "delete", Some("paused")),
        (Some("scaledToZero"), "pause", Some("scaledToZero")),
        (Some("running"), "delete", Some("running")),
    ] {
        for fatal in 0.. {
            let fresh = || open(&config(&json!({ "on_finish": on_finish })), true);
            let mut hub = before.map_or_else(Hub::empty, Hub::with);
            let mut count = 0;
            let killed = run(&fresh(), Request::Prepare(Vec::new()), &mut |sent| {
                let does = hub.answer(sent);
                count += 1;
                if count > fatal { Does::Kill } else { does }
            });
            if killed.result.is_some() {
                assert!(fatal > 2);
                break;
            }
            let freed = release(&fresh(), killed.held, &mut hub);
            assert!(is_ready(&freed) && freed.held.is_empty(), "{fatal}: {freed:?}");
            assert!(
                hub.state() == after || (before.is_none() && hub.state().is_none()),
                "{before:?} {on_finish} killed at {fatal}: {:?}",
                hub.state()
            );
        }
    }
}

/// The request that makes or resumes it was cut off, and is carried out only after the first look for it.
#[test]
fn one_that_comes_up_late_is_freed_all_the_same() {
    for (before, on_finish, after) in
        [(None, "delete", None), (Some("paused"), "pause", Some("paused"))]
    {
        let plugin = open(&config(&json!({ "on_finish": on_finish })), true);
        let mut hub = before.map_or_else(Hub::empty, Hub::with);
        let killed = run(&plugin, Request::Prepare(Vec::new()), &mut |sent| {
            if sent.method == "POST" { Does::Kill } else { hub.answer(sent) }
        });
        let late = killed.sent.last().unwrap();
        let mut looks = 0;
        let freed = run(&plugin, Request::Release(killed.held), &mut |sent| {
            let does = hub.answer(sent);
            looks += 1;
            if looks == 1 {
                hub.answer(late);
            }
            does
        });
        assert!(is_ready(&freed) && freed.held.is_empty(), "{freed:?}");
        assert!(did(&freed, "wait 5000"), "{freed:?}");
        assert_eq!(hub.state(), after);
    }
}

#[test]
fn a_run_that_is_resumed_takes_its_endpoint_over_and_still_frees_it() {
    for fatal in 1..6 {
        let given = config(&json!({ "on_finish": "delete", "reuse_existing": false }));
        let mut hub = Hub::empty();
        let mut count = 0;
        let killed = run(&open(&given, true), Request::Prepare(Vec::new()), &mut |sent| {
            let does = hub.answer(sent);
            count += 1;
            if count > fatal { Does::Kill } else { does }
        });
        assert!(killed.result.is_none());
        let plugin = open(&given, true);
        let resumed = prepare(&plugin, killed.held, &mut hub);
        assert!(is_ready(&resumed), "{fatal}: {resumed:?}");
        assert_eq!(resumed.held.len(), 1);
        let freed = release(&plugin, resumed.held, &mut hub);
        assert!(is_ready(&freed) && hub.state().is_none());
    }
}

#[test]
fn releasing_goes_on_after_a_failure_and_leaves_what_is_not_the_noted_one_alone() {
    let note = |name: &str, repository: &str| Held {
        name: format!("endpoint acme/{name}"),
        note: json!({ "namespace": "acme", "name": name, "on_finish": "delete", "repository": repository }),
    };
    let plugin = open(&config(&json!({})), true);
    let strange = Held { name: "endpoint x".to_owned(), note: json!({ "a": 1 }) };
    let mut hub = Hub::with("running");
    let run = release(&plugin, vec![strange, note("piqa", "acme/m-7b")], &mut hub);
    assert_eq!(run.held.len(), 1);
    assert!(run.error().message.contains("by hand"));
    assert_eq!(hub.state(), None);

    let mut hub = Hub::with("running");
    let run = release(&plugin, vec![note("piqa", "acme/another")], &mut hub);
    assert!(is_ready(&run) && run.held.is_empty() && !did(&run, DELETE));
    assert_eq!(hub.state(), Some("running"));

    // Gone is free.
    let run = release(&plugin, vec![note("piqa", "acme/m-7b")], &mut Hub::empty());
    assert!(is_ready(&run) && run.held.is_empty());

    // Without its name in the table nobody can free it, and that is said.
    let plugin = open(&json!({ "mode": "endpoint", "base_url": "https://x" }), true);
    let run = release(&plugin, vec![note("piqa", "acme/m-7b")], &mut Hub::empty());
    assert!(run.held.len() == 1 && run.error().message.contains("`name`"));
}

#[test]
fn a_look_at_its_health_starts_nothing() {
    let plugin = open(&config(&json!({})), true);
    for (mut hub, ready, says) in [
        (Hub::empty(), false, "no endpoint"),
        (Hub::with("paused"), false, "paused"),
        (Hub::with("scaledToZero"), false, "scaledToZero"),
        (Hub::with("running"), true, ""),
        (Hub { unhealthy: 1, ..Hub::with("running") }, false, "503"),
    ] {
        let before = hub.state();
        let run = run(&plugin, Request::Health, &mut |sent| hub.answer(sent));
        match run.answer() {
            Answer::Health(health) => {
                assert_eq!(health.ready, ready);
                assert!(health.detail.contains(says), "{}", health.detail);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(hub.state(), before);
    }
}

#[test]
fn one_at_its_own_url_is_waited_for_and_nothing_is_managed() {
    let url = json!({ "mode": "endpoint", "base_url": "https://x.endpoints.huggingface.cloud", "engine": "tgi" });
    let plugin = open(&url, true);
    let mut left = 2;
    let woken = run(&plugin, Request::Prepare(Vec::new()), &mut |_| {
        left -= 1;
        common::text(if left > 0 { 503 } else { 200 }, "")
    });
    assert!(is_ready(&woken));
    assert_eq!(woken.log, ["GET /health", "wait 5000", "GET /health"]);
    // One that is not there at all, or refuses the token, is not waited for.
    for (does, kind) in
        [(Does::Break, ErrorKind::Transport), (common::text(401, ""), ErrorKind::Unauthorized)]
    {
        let run = run(&open(&url, true), Request::Prepare(Vec::new()), &mut |_| does.clone());
        assert_eq!(run.log.len(), 1);
        assert_eq!(run.error().kind, kind);
    }
    // An engine without the route is up if it answers.
    let run = run(&open(&url, true), Request::Prepare(Vec::new()), &mut |_| common::text(404, ""));
    assert!(is_ready(&run));
}
