//! Whatever ends the host or the server.

use super::{
    Duration, Running, Signal, all_end, built, free_port, fs, ids, lives, run_file, sandbox,
    signal, thread, until, with_script,
};

#[test]
fn after_a_run_that_fails_nothing_is_left() {
    let port = free_port();
    let sandbox = sandbox(2, port, "--fail-rate 1");
    let outcome = sandbox.run(&run_file(port, "run.max_retries = 0")).exits(3);
    assert_eq!(outcome.left().counts(), [2, 0, 2]);
    all_end(&ids(&sandbox));
}

#[test]
fn after_an_interrupt_nothing_is_left() {
    let port = free_port();
    let sandbox = sandbox(100_000, port, "--latency-ms 200");
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    running.until_it_says("run directory");
    running.signal(Signal::INT);
    assert_eq!(running.ends(), Some(4), "{}", running.said());
    all_end(&ids(&sandbox));
}

#[test]
fn an_interrupt_during_the_wait_ends_the_server_too() {
    let sandbox = with_script(1, "echo $PPID $$ 1 1 > ids.new\nmv ids.new ids\nexec sleep 1000\n");
    let mut running = Running::start(&sandbox, &run_file(free_port(), ""));
    running.until_it_says("waiting for its server");
    let ids = ids(&sandbox);
    running.signal(Signal::INT);
    assert_eq!(running.ends(), Some(4), "{}", running.said());
    running.until_it_says("stopped before the first sample");
    all_end(&ids[..2]);
}

#[test]
fn after_a_kill_of_the_host_nothing_is_left() {
    let port = free_port();
    let sandbox = sandbox(100_000, port, "--latency-ms 200");
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    running.until_it_says("run directory");
    let ids = ids(&sandbox);
    assert!(ids.iter().all(|id| lives(*id)), "{ids:?}");
    running.signal(Signal::KILL);
    assert_eq!(running.ends(), None);
    all_end(&ids);
}

#[test]
fn a_user_who_does_not_wait_for_the_end_of_a_server_leaves_none() {
    let port = free_port();
    // Nobody of them heeds the first signal.
    let script = format!(
        "trap '' TERM\n'{}' mock --port {port} &\nmock=$!\nsleep 1000 &\n\
         echo $PPID $$ $mock $! > ids.new\nmv ids.new ids\nwhile :; do sleep 1; done\n",
        built::host().display()
    );
    let sandbox = with_script(1, &script);
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    let ids = ids(&sandbox);
    running.until_it_says("backend `own`: waiting for its server to end");
    // The first interrupt of a run is heeded at its end anyway, the second ends the host.
    until("the host has ended", || {
        running.signal(Signal::INT);
        thread::sleep(Duration::from_millis(100));
        running.child.try_wait().unwrap()
    });
    assert_eq!(running.ends(), Some(4), "{}", running.said());
    // Its supervisor still gives the server its time.
    assert!(lives(ids[1]));
    all_end(&ids);
}

#[test]
fn a_run_is_nobody_elses_while_its_server_ends() {
    let port = free_port();
    let script = format!(
        "trap 'touch ending; while ! test -e end; do sleep 0.01; done; exit' TERM\n\
         '{}' mock --port {port} &\nwait\n",
        built::host().display()
    );
    let sandbox = with_script(1, &script);
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    until("the server is asked to end", || sandbox.path("ending").exists().then_some(()));
    let run = fs::read_dir(sandbox.path("runs")).unwrap().next().unwrap().unwrap().path();
    assert!(run.join("summary.json").exists());
    let mut resume = sandbox.host(["resume"]);
    resume.arg(&run);
    let _ = sandbox.finish(resume).exits(2).says(&["is at work on this run"]);
    sandbox.write("end", "");
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    let mut resume = sandbox.host(["resume"]);
    resume.arg(&run);
    let _ = sandbox.finish(resume).exits(0).says(&["nothing is missing"]);
}

#[test]
fn everyone_is_asked_to_end_before_anyone_is_killed() {
    let port = free_port();
    let sandbox = sandbox(1, port, "");
    // One that has moved away from the server's process group, and is told only after its parent has ended.
    let careful = "trap 'echo $$ > asked; exit' TERM; touch careful; while :; do sleep 0.1; done";
    let script = fs::read_to_string(sandbox.path("serve.sh")).unwrap();
    sandbox.write("careful.sh", careful);
    let careful = "setsid sh careful.sh &\nwhile ! test -e careful; do sleep 0.01; done\n";
    sandbox.write("serve.sh", format!("{careful}{script}"));
    let _ = sandbox.run(&run_file(port, "")).exits(0);
    let asked = fs::read_to_string(sandbox.path("asked")).unwrap();
    all_end(&[asked.trim().parse().unwrap()]);
}

#[test]
fn the_end_of_a_server_during_the_run_is_told() {
    let port = free_port();
    let sandbox = sandbox(100_000, port, "--latency-ms 200");
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    running.until_it_says("run directory");
    let ids = ids(&sandbox);
    signal(ids[1], Signal::KILL);
    running.until_it_says(
        "warning: backend `own`: its server ended with signal 9 (SIGKILL); the end of runs/",
    );
    // What it started does not outlive it.
    all_end(&ids);
    running.signal(Signal::INT);
    assert_eq!(running.ends(), Some(4), "{}", running.said());
    let run = fs::read_dir(sandbox.path("runs")).unwrap().next().unwrap().unwrap().path();
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert!(events.contains(r#""event":"server_ended","backend":"own""#), "{events}");
}

#[test]
fn a_server_does_not_outlive_its_supervisor() {
    let port = free_port();
    let sandbox = sandbox(100_000, port, "--latency-ms 200");
    let mut running = Running::start(&sandbox, &run_file(port, ""));
    running.until_it_says("run directory");
    let ids = ids(&sandbox);
    signal(ids[0], Signal::KILL);
    all_end(&ids[..2]);
    running.until_it_says("its server was ended together with its supervisor");
    running.signal(Signal::INT);
    assert_eq!(running.ends(), Some(4), "{}", running.said());
    running.until_it_says("backend `own`: processes of its server may be left");
    // Nobody was left to end these.
    for id in ids.iter().skip(2).filter(|id| lives(**id)) {
        signal(*id, Signal::KILL);
    }
}
