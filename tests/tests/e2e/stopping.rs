//! Ctrl-C in the middle of a run.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    sandbox::Sandbox,
    scripted::Scripted,
};
use rustix::process::{Pid, Signal, kill_process};

use super::{ECHO, echoes, tgi};

#[test]
fn an_interrupt_keeps_what_is_finished() {
    // Ten are answered; then four are in flight for ever.
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(|number, _| (number > 10).then_some(Fault::Silence))
        .start_blocking()
        .unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(100));
    let text = format!("run.concurrency = 4\n{}{ECHO}", tgi(&fake));
    let child = sandbox.spawn(sandbox.run_command(&text, &[]));
    assert!(fake.wait_for(14, Duration::from_secs(60)));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let outcome = sandbox.wait(child).exits(4).says(&["stopped"]);
    let left = outcome.left();
    assert_eq!(left.journal.len(), 10);
    assert_eq!(left.summary["run"]["state"], "interrupted");
    assert_eq!(left.counts(), [10, 10, 0]);
}

#[test]
fn an_interrupt_before_the_first_sample_is_heard_too() {
    let (asked, heard) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (asked, released) = (Mutex::new(asked), Mutex::new(released));
    let server = Scripted::start(move |_| {
        asked.lock().unwrap().send(()).unwrap();
        // Says nothing until the test is over.
        let _ = released.lock().unwrap().recv();
        Vec::new()
    });
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1));
    let text = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n{ECHO}", server.url());
    let child = sandbox.spawn(sandbox.run_command(&text, &[]));
    heard.recv_timeout(Duration::from_secs(60)).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let outcome = sandbox.wait(child).exits(4).says(&["stopped before the first sample"]);
    assert!(outcome.folders().is_empty());
    drop(release);
}
