//! Plugins in processes of their own: whatever becomes of one, the host and the other backends go on. What a plugin may die of
//! is in `broken`.

use std::{fs, path::Path};

use host_tests::{
    fake_tgi::FakeTgi,
    left::{Left, counts},
    patience::until,
    processes::{children, is_alive},
    sandbox::Sandbox,
};

use serde_json::Value;

use super::{ECHO, echoes, hostile, run, tgi};

#[test]
fn a_plugin_runs_where_the_run_file_says_and_else_in_a_worker() {
    for (key, expected) in [
        ("", "worker"),
        ("isolation = \"worker\"\n", "worker"),
        ("isolation = \"in-process\"\n", "in-process"),
    ] {
        // In the host's process only if the lock file allows it, too.
        let sandbox = match expected {
            "worker" => Sandbox::with_hostile(),
            _ => Sandbox::trusting_hostile(),
        };
        sandbox.write("data.jsonl", echoes(20));
        let outcome = sandbox.run(&format!("{}{key}{ECHO}", hostile("echo"))).exits(0);
        let warns = outcome.stderr.contains("runs in-process, with the host's own rights");
        assert_eq!(warns, expected == "in-process", "{}", outcome.stderr);
        let left = outcome.left();
        assert_eq!(left.counts(), [20, 20, 0]);
        assert_eq!(left.manifest["plugins"][0]["isolation"], expected);
    }
}

#[test]
fn a_sample_whose_worker_died_is_asked_again_in_another_one() {
    let text = format!(
        "run.max_retries = 2\nrun.concurrency = 1\n{}config.after = 3\nconfig.text = \"word\"\n",
        hostile("abort")
    );
    let left = run(&text, ECHO, &echoes(5)).exits(0).left();
    assert_eq!(left.counts(), [5, 5, 0]);
    let attempts: Vec<_> = left.journal.iter().map(|line| line["attempts"].as_u64()).collect();
    assert_eq!(attempts, [Some(1), Some(1), Some(1), Some(2), Some(1)]);
}

#[test]
fn a_plugin_that_dies_three_times_in_a_minute_is_given_up_and_the_others_go_on() {
    let text = format!(
        "run.max_retries = 10\nrun.concurrency = 1\n{}id = \"bad\"\n{}id = \"good\"\n",
        hostile("abort"),
        hostile("echo")
    );
    let outcome = run(&text, ECHO, &echoes(30)).exits(5).says(&[
        "backend `bad`: plugin `hostile` 0.1.0: its worker ended with signal 6 (SIGABRT); it died 3 times within a \
         minute and is not started again",
    ]);
    let left = outcome.left();
    assert_eq!(left.summary["run"]["state"], "failed");
    assert_eq!(counts(left.of_backend("good")), [30, 30, 0]);
    let bad: Vec<_> = left.journal.iter().filter(|line| line["backend"] == "bad").collect();
    assert_eq!(bad.len(), 1, "nothing more is asked of it: {bad:?}");
    assert_eq!(bad[0]["status"]["unscored"], "crashed");
}

#[test]
fn a_worker_that_is_stuck_is_ended_and_another_one_goes_on() {
    let text = format!(
        "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.concurrency = 1\nrun.attempt_timeout = \"2s\"\n\
         {}config.ms = 100000\n",
        hostile("slow_block")
    );
    let left = run(&text, ECHO, &echoes(3)).exits(0).left();
    assert_eq!(left.reasons(), ["timeout", "crashed", "timeout"]);
    let message = left.journal[1]["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "plugin `hostile` 0.1.0: its worker was stuck in a step for more than 1s and was ended"
    );
}

#[test]
fn what_a_plugin_writes_is_shown_as_its_own_and_not_without_end() {
    let outcome = run(&hostile("print"), ECHO, &echoes(1)).exits(0).says(&[
        "plugin `hostile` 0.1.0 writes: hostile to stdout",
        "plugin `hostile` 0.1.0 writes: hostile to stderr",
    ]);
    assert!(!outcome.stdout.contains("hostile to"), "{}", outcome.stdout);
    let flood = format!("{}config.bytes = 100000\n", hostile("flood_output"));
    let outcome = run(&flood, ECHO, &echoes(1)).exits(0);
    let outcome = outcome.says(&["plugin `hostile` 0.1.0 writes more than is shown here"]);
    assert!(outcome.stderr.lines().count() < 50, "{}", outcome.stderr);
}

#[test]
fn a_worker_may_not_reach_what_it_does_not_need() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", server.local_addr().unwrap());
    let forbidden = [
        ("connect", "seccomp"),
        ("start_program", "seccomp"),
        ("share_memory", "seccomp"),
        ("memory_file", "seccomp"),
        ("outlasting_memory", "seccomp"),
        ("outlive", "seccomp"),
        ("change_host", "seccomp"),
        ("change_file", "seccomp"),
        ("read_file", "landlock"),
    ];
    let modes = forbidden.iter().map(|(mode, _)| *mode).chain(["environment", "rights"]);
    let mut text = "run.max_unscored = 1.0\n".to_owned();
    for isolation in ["worker", "in-process"] {
        for mode in modes.clone() {
            let id = format!("{mode} {isolation}");
            text.push_str(&format!(
                "{}id = \"{id}\"\nisolation = \"{isolation}\"\nbase_url = \"{server}\"\n\
                 config.text = \"/etc/passwd\"\n",
                hostile(mode)
            ));
        }
    }
    let sandbox = Sandbox::trusting_hostile();
    sandbox.write("data.jsonl", echoes(1));
    let key = [("HOSTILE_API_KEY", "sk-very-secret")];
    let left = sandbox.run_with(&format!("{text}{ECHO}"), &key).exits(0).left();
    let said = |id: &str| {
        let line = left.journal.iter().find(|line| line["backend"] == id).unwrap();
        line["response"]["completion"]["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(said("environment worker"), "PATH");
    assert!(said("environment in-process").contains("HOSTILE_API_KEY"));
    let plugin = &left.manifest["plugins"][0];
    assert_eq!(plugin["isolation"], "in-process and worker");
    let by: Vec<&str> =
        plugin["sandbox"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(by.contains(&"no_new_privs") && by.contains(&"limits"), "{by:?}");
    // The doctor had promised just that.
    let doctor = sandbox.finish(sandbox.host(["doctor", "--json"])).exits(0);
    let facts = doctor.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let promised = facts.filter(|fact| fact["topic"] == "isolation" && fact["state"] == "good");
    let promised: Vec<String> =
        promised.map(|fact| fact["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(by, promised);
    if by.contains(&"capabilities") {
        // CAP_DAC_READ_SEARCH
        let held = u64::from_str_radix(&said("rights worker"), 16).unwrap();
        assert_eq!(held & !(1 << 2), 0, "{held:x}");
    }
    for (mode, means) in forbidden {
        assert_eq!(said(&format!("{mode} in-process")), "done");
        if by.contains(&means) {
            assert_eq!(said(&format!("{mode} worker")), "permission denied", "{mode}");
        }
    }
}

#[test]
fn a_worker_asks_and_reads_as_the_same_plugin_does_in_this_process() {
    let fake = FakeTgi::builder().text(str::to_owned).start_blocking().unwrap();
    for stream in ["", "stream = true\n"] {
        let results = ["worker", "in-process"].map(|isolation| {
            let text = format!("{}isolation = \"{isolation}\"\n{stream}", tgi(&fake));
            let left = run(&text, ECHO, &echoes(50)).exits(0).left();
            assert_eq!(left.manifest["plugins"][0]["isolation"], isolation);
            let told: Vec<_> = left
                .journal
                .iter()
                .map(|line| {
                    let timed = line["timing_ms"]["first_text"].is_number();
                    (line["response"].clone(), line["usage"].clone(), timed)
                })
                .collect();
            (left.result()["metrics"].clone(), told)
        });
        assert!(results[0] == results[1], "{results:?}");
    }
}

#[test]
fn no_worker_outlives_a_host_that_is_killed() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(4));
    let text = format!("{}{ECHO}", hostile("park_forever"));
    let mut host = sandbox.spawn(sandbox.run_command(&text, &[]));
    let workers = until("a worker is there", || {
        let children = children(host.id());
        (!children.is_empty()).then_some(children)
    });
    assert!(workers.iter().all(|worker| is_alive(*worker)));
    host.kill().unwrap();
    host.wait().unwrap();
    until("no worker is left", || workers.iter().all(|worker| !is_alive(*worker)).then_some(()));
}

/// `cp` over the file, or a rename of another one: what is written to, or takes its place, is no library.
const REPLACED: [fn(&Path, &Path); 2] = [
    |plugin, _| fs::write(plugin, "no library").unwrap(),
    |plugin, other| fs::rename(other, plugin).unwrap(),
];

/// Starts a run of forty samples, replaces the plugin's file when the first one is recorded, and waits for the end.
fn replaced(sandbox: &Sandbox, backend: &str, replace: fn(&Path, &Path)) -> Left {
    sandbox.write("data.jsonl", echoes(40));
    let other = sandbox.write("other", "no library");
    let engine = "run.max_retries = 3\nrun.concurrency = 1\nrun.sync = \"every\"\n";
    let text = format!("{engine}{backend}config.delay_ms = 25\n{ECHO}");
    let host = sandbox.spawn(sandbox.run_command(&text, &[]));
    until("a sample is recorded", || {
        let run = fs::read_dir(sandbox.path("runs")).ok()?.next()?.ok()?.path();
        let journal = fs::read_to_string(run.join("journal.jsonl")).ok()?;
        (!journal.is_empty()).then_some(())
    });
    replace(&sandbox.path("plugins/libhostile.so"), &other);
    let left = sandbox.wait(host).exits(0).left();
    assert_eq!(left.counts(), [40, 40, 0]);
    left
}

#[test]
fn a_file_that_is_replaced_or_spoilt_during_a_run_does_not_disturb_it() {
    for replace in REPLACED {
        // Its first worker dies after twenty samples; the next one is started from the bytes of the beginning.
        let backend = format!("{}config.after = 20\n", hostile("abort"));
        let left = replaced(&Sandbox::with_hostile(), &backend, replace);
        let retried = left.journal.iter().filter(|line| line["attempts"] == 2).count();
        assert_eq!(retried, 1, "another worker was started");

        let backend = format!("{}isolation = \"in-process\"\n", hostile("echo"));
        let left = replaced(&Sandbox::trusting_hostile(), &backend, replace);
        assert_eq!(left.manifest["plugins"][0]["isolation"], "in-process");
    }
}
