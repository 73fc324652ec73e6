//! A run goes on where it was left: whatever ended it, nothing is lost, nothing is asked twice, and it ends as one
//! that was never stopped.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    left::Left,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{ECHO, echoes, hostile, tgi};

/// The only run directory.
fn directory(sandbox: &Sandbox) -> PathBuf {
    let runs = fs::read_dir(sandbox.path("runs")).unwrap();
    let runs: Vec<PathBuf> = runs.map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

fn resume_command(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = sandbox.host(["resume"]);
    command.arg(directory).args(arguments);
    command.arg("--plugin-dir").arg(sandbox.path("plugins"));
    command
}

fn resume(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> Outcome {
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    sandbox.finish(resume_command(sandbox, directory, arguments))
}

/// Makes a finished run look as if it had been killed when it had so many samples.
fn keep_lines(directory: &Path, lines: usize) {
    let path = directory.join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.split_inclusive('\n').take(lines).collect();
    fs::write(path, kept).unwrap();
    fs::remove_file(directory.join("summary.json")).unwrap();
}

/// A sandbox with a finished run of the hostile plugin's echo.
fn finished(samples: usize, task: &str) -> (Sandbox, PathBuf, Left) {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(samples));
    let left = sandbox.run(&format!("{}{task}", hostile("echo"))).exits(0).left();
    let directory = directory(&sandbox);
    (sandbox, directory, left)
}

/// Numbers that look random and are the same in each run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Waits until something is so, or the process has ended.
fn until(child: &mut Child, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain");
        thread::sleep(Duration::from_micros(300));
    }
}

/// `n` records, every third of which is answered right by what the hostile plugin says.
fn thirds(n: usize) -> String {
    let target = |i: usize| if i.is_multiple_of(3) { "the answer is 42" } else { "another" };
    (0..n).map(|i| format!("{{\"says\": \"word {i}\", \"target\": \"{}\"}}\n", target(i))).collect()
}

/// Answers after a moment, so that a test can kill between two answers.
fn steady(ms: u64) -> String {
    format!("run.concurrency = 8\n{}config.ms = {ms}\n{ECHO}", hostile("thread_wake"))
}

/// What the journal has after the first `from` bytes, in whole lines: their samples' ids are added to `ids`.
fn read_on(journal: &Path, from: &mut usize, ids: &mut BTreeSet<String>) {
    let bytes = fs::read(journal).unwrap_or_default();
    let rest = &bytes[*from..];
    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for line in String::from_utf8(rest[..whole].to_vec()).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["sample"]["id"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "sample {id} is in the journal twice");
    }
    *from += whole;
}

/// The ids of samples that a killed host had told of on stdout.
fn told(stdout: &Path) -> Vec<String> {
    let text = fs::read_to_string(stdout).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let samples = events.filter(|event| event["event"] == "sample");
    samples.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// How a process ended that a test meant to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// It was done before.
    Finished,
}

/// A run whose processes are killed, again and again.
struct Mortal {
    sandbox: Sandbox,
    /// Where its journal is, once it has one.
    journal: PathBuf,
    /// How much of that was read, and which samples it had.
    read: usize,
    ids: BTreeSet<String>,
}

impl Mortal {
    fn new(samples: usize) -> Self {
        let sandbox = Sandbox::with_hostile();
        sandbox.write("data.jsonl", thirds(samples));
        Self { sandbox, journal: PathBuf::new(), read: 0, ids: BTreeSet::new() }
    }

    fn size(&self) -> u64 {
        size(&self.journal)
    }

    /// Begins the run or goes on with it, and kills it `later` than the journal is so long, unless it ends before.
    fn live(&mut self, text: &str, moment: u64, later: Duration) -> End {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.sandbox.path(name));
        let begins = self.journal.as_os_str().is_empty();
        let mut command = match begins {
            true => self.sandbox.run_command(text, &["--json"]),
            false => resume_command(&self.sandbox, self.journal.parent().unwrap(), &["--json"]),
        };
        command.stdout(fs::File::create(&stdout).unwrap());
        command.stderr(fs::File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        if begins {
            until(&mut child, || {
                let runs = fs::read_dir(self.sandbox.path("runs")).ok();
                runs.is_some_and(|mut runs| runs.next().is_some())
            });
            self.journal = directory(&self.sandbox).join("journal.jsonl");
        }
        until(&mut child, || self.size() >= moment);
        // No matter what it is at: that is what is random.
        thread::sleep(later);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let said = || {
            let stderr = fs::read_to_string(&stderr).unwrap();
            format!("killed {later:?} after byte {moment}, {status}; it said:\n{stderr}")
        };
        read_on(&self.journal, &mut self.read, &mut self.ids);
        for id in told(&stdout) {
            assert!(self.ids.contains(&id), "sample {id} was told and is lost; {}", said());
        }
        match status.code() {
            None => End::Killed,
            Some(code) => {
                assert_eq!(code, 0, "{}", said());
                End::Finished
            }
        }
    }

    /// Goes on to the end.
    fn end(mut self, samples: usize) -> Left {
        let outcome = resume(&self.sandbox, self.journal.parent().unwrap(), &[]).exits(0);
        let left = outcome.left();
        read_on(&self.journal, &mut self.read, &mut self.ids);
        assert_eq!((left.journal.len(), self.ids.len()), (samples, samples));
        assert_eq!(left.summary["run"]["state"], "complete");
        left
    }
}

#[test]
fn runs_that_are_killed_a_hundred_times_end_as_one_that_was_not() {
    const SAMPLES: usize = 10_000;
    const KILLS: usize = 100;
    /// Of each run: over its journal, and around its end.
    const SPREAD: usize = 36;
    const AT_THE_END: usize = 14;
    let (expected, total, last) = {
        let sandbox = Sandbox::with_hostile();
        sandbox.write("data.jsonl", thirds(SAMPLES));
        let left = sandbox.run(&steady(0)).exits(0).left();
        let begin = Instant::now();
        let _ = resume(&sandbox, &left.path, &[]).exits(0);
        let last = begin.elapsed();
        let total = size(&left.path.join("journal.jsonl"));
        (left, total, u64::try_from(last.as_micros()).unwrap())
    };
    let mut random = Random(20_260_101);
    let (mut kills, mut finished) = (0, 0);
    while kills < KILLS {
        let mut run = Mortal::new(SAMPLES);
        let mut moments: Vec<u64> = (0..SPREAD).map(|_| random.below(total * 95 / 100)).collect();
        moments.sort_unstable();
        let mut spread = 0;
        for moment in moments {
            // Where the last kill came late, the next one comes soon.
            let moment = moment.max(run.size() + 1 + random.below(2_000));
            spread += usize::from(run.live(&steady(3), moment, Duration::ZERO) == End::Killed);
        }
        kills += spread;
        // From the last samples on: what is not asked any more is counted, summed up and released.
        for _ in 0..AT_THE_END {
            let later = Duration::from_micros(random.below(last * 5 / 4));
            match run.live(&steady(3), total * 99 / 100, later) {
                End::Killed => kills += 1,
                End::Finished => finished += 1,
            }
        }
        let left = run.end(SAMPLES);
        assert_eq!(left.results(), expected.results());
        // Each but the first had asked something.
        assert!(left.manifest["resumed"].as_array().unwrap().len() >= spread - 1);
    }
    assert!(finished > 0, "no kill came as late as the end");
}

#[test]
fn a_run_that_is_killed_while_it_begins_can_be_begun_or_gone_on_with() {
    let expected = {
        let sandbox = Sandbox::with_hostile();
        sandbox.write("data.jsonl", thirds(60));
        sandbox.run(&steady(0)).exits(0).left()
    };
    let mut random = Random(7);
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", thirds(60));
    let newest = || {
        let runs = fs::read_dir(sandbox.path("runs")).ok()?;
        runs.map(|run| run.unwrap().path()).max()
    };
    for kill in 0..20 {
        let begun = newest();
        let mut command = sandbox.run_command(&steady(5), &["--resume", "--quiet"]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let lines = 300 * random.below(4);
        until(&mut child, || {
            let Some(newest) = newest() else { return false };
            match kill % 5 {
                0 => begun.as_ref() != Some(&newest) || kill > 0,
                1 => newest.join("journal.jsonl").exists(),
                2 => newest.join("manifest.json").exists(),
                3 => newest.join("events.jsonl").exists(),
                _ => size(&newest.join("journal.jsonl")) > lines,
            }
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let left = sandbox.finish(sandbox.run_command(&steady(0), &["--resume"]));
    // The milliseconds are the plugin's, so they are part of what was asked.
    let _ = left.exits(2).says(&["backend.hostile.config.ms: 5 before, 0 now"]);
    let left = sandbox.finish(sandbox.run_command(&steady(5), &["--resume"])).exits(0).left();
    assert_eq!(left.results(), expected.results());
    assert_eq!(left.journal.len(), 60);
}

#[test]
fn a_journal_that_is_cut_anywhere_is_gone_on_with() {
    let (sandbox, directory, expected) = finished(40, ECHO);
    let journal = directory.join("journal.jsonl");
    let whole = fs::read(&journal).unwrap();
    let mut random = Random(3);
    let mut cuts: Vec<usize> = (0..8).map(|_| random.below(whole.len() as u64) as usize).collect();
    cuts.extend([0, 1, whole.len() - 1]);
    for cut in cuts {
        fs::write(&journal, &whole[..cut]).unwrap();
        let left = resume(&sandbox, &directory, &[]).exits(0).left();
        assert_eq!(left.results(), expected.results(), "cut at {cut}");
        assert_eq!(left.journal.len(), 40, "cut at {cut}");
    }
    // What a power failure may leave.
    for (garbage, says) in [
        (vec![0; 8192], "the last line of the journal was not whole; its 8192 bytes are cut off"),
        (
            b"{\"torn\": \0\0\0}\n\0\0\n{\"fo".to_vec(),
            "the last 3 lines of the journal were not whole",
        ),
    ] {
        let half = whole.iter().take(whole.len() / 2).rposition(|byte| *byte == b'\n').unwrap();
        fs::write(&journal, [&whole[..=half], &garbage].concat()).unwrap();
        let left = resume(&sandbox, &directory, &[]).exits(0).says(&[says]).left();
        assert_eq!((left.results(), left.journal.len()), (expected.results(), 40));
    }
    // In the middle it is damage, and told.
    let mut damaged = whole.clone();
    damaged[50] ^= 1;
    fs::write(&journal, &damaged).unwrap();
    let _ =
        resume(&sandbox, &directory, &[]).exits(2).says(&["journal.jsonl:1: the line is damaged"]);
    assert_eq!(fs::read(&journal).unwrap(), damaged);
}

#[test]
fn repeats_and_records_that_are_left_out_come_out_right() {
    let task = format!("{ECHO}repeats = 3\ndata.on_bad_sample = \"skip\"\n");
    let sandbox = Sandbox::with_hostile();
    let mut data: Vec<String> = echoes(12).lines().map(|line| format!("{line}\n")).collect();
    data.insert(4, "{\"says\": \"no target\"}\n".to_owned());
    data.insert(9, "no record\n".to_owned());
    sandbox.write("data.jsonl", data.concat());
    let text = format!("{}{task}", hostile("echo"));
    let expected = sandbox.run(&text).exits(0).left();
    assert_eq!(expected.counts(), [36, 36, 0]);
    assert_eq!(expected.result()["samples"]["skipped"], 2);
    let directory = directory(&sandbox);
    for lines in [0, 7, 20, 35, 36] {
        keep_lines(&directory, lines);
        let left = resume(&sandbox, &directory, &[]).exits(0).left();
        assert_eq!(left.results(), expected.results(), "from {lines}");
        assert_eq!(left.journal.len(), 36, "from {lines}");
    }
}

#[test]
fn a_finished_run_is_summed_up_again_without_its_server() {
    let fake = FakeTgi::builder().text(str::to_owned).start_blocking().unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(5));
    let before = sandbox.run(&format!("{}{ECHO}", tgi(&fake))).exits(0).left();
    drop(fake);
    let directory = directory(&sandbox);
    for _ in 0..2 {
        let after = resume(&sandbox, &directory, &[]).exits(0).says(&["nothing is missing"]).left();
        assert_eq!(after.summary["results"], before.summary["results"]);
        assert_eq!(after.manifest, before.manifest);
        assert_eq!(after.journal, before.journal);
    }
    // Also where the summary was never written.
    fs::remove_file(directory.join("summary.json")).unwrap();
    let outcome = resume(&sandbox, &directory, &["--json"]).exits(0);
    let events: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&events[0]["event"], &events[0]["done"]], [&Value::from("launch"), &5.into()]);
    assert_eq!(events[1]["event"], "done");
    assert_eq!(outcome.left().results(), before.results());
}

#[test]
fn what_is_unscored_is_asked_again_if_that_is_wanted() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(10));
    // It fails after six answers, in each process anew.
    let text = format!(
        "run.max_retries = 0\nrun.concurrency = 1\n{}config.after = 6\n{ECHO}",
        hostile("fail")
    );
    let before = sandbox.run(&text).exits(3).left();
    assert_eq!(before.counts(), [10, 6, 4]);
    let directory = directory(&sandbox);
    let other = resume(&sandbox, &directory, &["--retry-unscored=timeout"]).exits(3);
    assert_eq!(other.says(&["nothing is missing"]).left().counts(), [10, 6, 4]);
    let known = ["expected one of rate_limited, overloaded", "truncated"];
    let _ = resume(&sandbox, &directory, &["--retry-unscored=bogus"]).exits(2).says(&known);
    let left = resume(&sandbox, &directory, &["--retry-unscored=overloaded"]).exits(0).left();
    assert_eq!(left.counts(), [10, 10, 0]);
    assert_eq!(left.journal.len(), 14, "what was unscored is kept, and counts no more");
    let again = resume(&sandbox, &directory, &["--retry-unscored"]).exits(0).left();
    assert_eq!(again.summary["results"], left.summary["results"]);
}

#[test]
fn what_was_to_be_asked_again_and_was_not_is_still_unscored() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = Arc::clone(&is_ill);
    let fault = move || match ill.load(Ordering::Relaxed) {
        true => Fault::Raw(500, "no"),
        false => Fault::Silence,
    };
    let fake = FakeTgi::builder().faults(move |_, _| Some(fault())).start_blocking().unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(10));
    let text = format!("run.max_retries = 0\n{}eject_after = 100\n{ECHO}", tgi(&fake));
    let before = sandbox.run(&text).exits(3).left();
    assert_eq!(before.counts(), [10, 0, 10]);
    is_ill.store(false, Ordering::Relaxed);
    let arguments = ["--resume", "--retry-unscored", "--set", "run.budget.max_wall=200ms"];
    let again = sandbox.finish(sandbox.run_command(&text, &arguments)).exits(4);
    let left = again.says(&["10 unscored samples are asked again", "max_wall"]).left();
    assert_eq!((left.counts(), left.journal.len()), ([10, 0, 10], 10));
    assert_eq!(left.result()["unscored_reasons"], before.result()["unscored_reasons"]);
}

#[test]
fn one_process_at_a_time_works_on_a_run() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(4));
    let text = format!("{}{ECHO}", hostile("park_forever"));
    let mut first = sandbox.spawn(sandbox.run_command(&text, &[]));
    until(&mut first, || {
        let runs = fs::read_dir(sandbox.path("runs")).ok();
        let run = runs.and_then(|mut runs| runs.next());
        run.is_some_and(|run| run.unwrap().path().join("events.jsonl").exists())
    });
    let directory = directory(&sandbox);
    let refused = resume(&sandbox, &directory, &[]).exits(2);
    let process = format!("({})", first.id());
    let _ = refused.says(&["journal.jsonl: another process", "is at work on this run"]);
    // The kernel lists who it is, if it may be asked.
    if fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("FLOCK")) {
        let _ = resume(&sandbox, &directory, &["--json"]).exits(2).says(&[&process]);
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // How patiently it is asked may differ, and the newest word counts.
    let pace = ["--resume", "--set", "run.attempt_timeout=100ms", "--set", "run.max_retries=0"];
    let left = sandbox.finish(sandbox.run_command(&text, &pace)).exits(3).left();
    assert_eq!(left.reasons(), ["timeout"; 4]);
    assert_eq!(left.manifest["config"]["run"]["attempt_timeout_ms"], 100);
}

#[test]
fn what_decides_results_may_not_change_unless_that_is_accepted() {
    let (sandbox, directory, _) = finished(6, ECHO);
    // In what order samples end is chance; the one whose record changes is among those that are kept.
    let all = fs::read_to_string(directory.join("journal.jsonl")).unwrap();
    let mut lines: Vec<&str> = all.split_inclusive('\n').collect();
    lines.sort_by_key(|line| !line.contains("word 1"));
    assert!(lines[0].contains("word 1"), "{all}");
    fs::write(directory.join("journal.jsonl"), lines.concat()).unwrap();
    keep_lines(&directory, 3);
    let journal = fs::read(directory.join("journal.jsonl")).unwrap();
    let manifest = fs::read(directory.join("manifest.json")).unwrap();
    let data = fs::read(sandbox.path("data.jsonl")).unwrap();
    let plugin = sandbox.path("plugins/libhostile.so");
    let library = fs::read(&plugin).unwrap();
    let refused = |says: &[&str]| {
        let _ = resume(&sandbox, &directory, &[]).exits(2).says(says).says(&["--accept-changes"]);
        assert_eq!(fs::read(directory.join("journal.jsonl")).unwrap(), journal);
        assert_eq!(fs::read(directory.join("manifest.json")).unwrap(), manifest);
    };

    fs::write(&plugin, [library.as_slice(), b"more"].concat()).unwrap();
    refused(&["plugin `hostile`: version", "SHA-256"]);
    fs::write(&plugin, &library).unwrap();

    // The second record is another one, and there is one more.
    let changed = String::from_utf8(data.clone()).unwrap().replace("word 1", "word one");
    let changed = format!("{changed}{{\"says\": \"word 6\", \"target\": \"word 6\"}}\n");
    fs::write(sandbox.path("data.jsonl"), &changed).unwrap();
    refused(&["data of task `t`", "data.jsonl has other contents"]);

    let text = format!("run.concurrency = 2\n{}{ECHO}", hostile("ok"));
    let other = sandbox.finish(sandbox.run_command(&text, &["--resume"])).exits(2);
    let _ = other.says(&["backend.hostile.config.mode: \"echo\" before, \"ok\" now"]);
    assert_eq!(fs::read(directory.join("journal.jsonl")).unwrap(), journal);

    let left = resume(&sandbox, &directory, &["--accept-changes"]).exits(0).left();
    // The answer to what was the second record does not count for what it is now.
    assert_eq!(left.counts(), [7, 7, 0]);
    assert_eq!((left.metric("exact_match"), left.journal.len()), (1.0, 8));
    let accepted = &left.manifest["resumed"][0]["accepted"];
    assert!(accepted[0].as_str().unwrap().contains("data.jsonl has other contents"), "{accepted}");
    // From now on this is what the run is.
    let again = resume(&sandbox, &directory, &[]).exits(0).says(&["nothing is missing"]).left();
    assert_eq!(again.summary["results"], left.summary["results"]);
    fs::write(sandbox.path("data.jsonl"), &data).unwrap();
    let _ = resume(&sandbox, &directory, &[]).exits(2).says(&["data.jsonl has other contents"]);
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    let sandbox = Sandbox::with_hostile();
    let pad = "x".repeat(60_000);
    let record = |i: usize| {
        format!("{{\"says\": \"word {i}\", \"target\": \"word {i}\", \"pad\": \"{pad}\"}}\n")
    };
    // Room for the plugin, which is a file in memory while it is loaded, and for some of the samples.
    let room = size(&sandbox.path("plugins/libhostile.so")) / 512 + 2000;
    let samples = usize::try_from(room * 512 / 60_000).unwrap() + 20;
    sandbox.write("data.jsonl", (0..samples).map(record).collect::<String>());
    let text = format!("{}{ECHO}", hostile("echo"));
    let run = sandbox.run_command(&text, &[]);
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {room}; trap '' XFSZ; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(run.get_program()).args(run.get_args());
    command.env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(run.get_current_dir().unwrap());
    let full = sandbox
        .finish(command)
        .exits(1)
        .says(&["cannot write journal.jsonl", "samples are recorded, and `host resume"]);
    let before = full.left();
    assert_eq!(before.summary["run"]["state"], "failed");
    let done = before.journal.len();
    assert!(0 < done && done < samples, "{done} of {samples}");
    assert_eq!(before.counts()[0], done as u64);
    let left = resume(&sandbox, &directory(&sandbox), &[]).exits(0).left();
    assert_eq!((left.counts()[1], left.journal.len()), (samples as u64, samples));
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let (sandbox, directory, _) = finished(6, ECHO);
    keep_lines(&directory, 3);
    let journal = fs::read(directory.join("journal.jsonl")).unwrap();
    let as_nobody = |command: Command| {
        // Whoever may write everywhere becomes somebody who may not.
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        nobody.arg(command.get_program()).args(command.get_args());
        nobody
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        nobody.current_dir(command.get_current_dir().unwrap());
        nobody
    };
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("-V").output().is_err()
    {
        return;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(sandbox.path(""), open).unwrap();
    let resumed = sandbox.finish(as_nobody(resume_command(&sandbox, &directory, &[])));
    let _ = resumed.exits(2).says(&["journal.jsonl: cannot open this file"]);
    assert_eq!(fs::read(directory.join("journal.jsonl")).unwrap(), journal);
    let text = format!("{}{ECHO}", hostile("echo"));
    let run = sandbox.finish(as_nobody(sandbox.run_command(&text, &[])));
    let _ = run.exits(2).says(&["cannot make this run directory", "--out"]);
}

#[test]
fn where_there_is_nothing_to_resume_that_is_said() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(2));
    let _ =
        resume(&sandbox, &sandbox.path("absent"), &[]).exits(2).says(&["no run to resume here"]);
    let text = format!("{}{ECHO}", hostile("echo"));
    let alone = sandbox.finish(sandbox.run_command(&text, &["--accept-changes"]));
    let _ = alone.exits(2).says(&["add --resume"]);
    let first = sandbox.finish(sandbox.run_command(&text, &["--resume"])).exits(0);
    let _ = first.says(&["no run of `run` below runs to resume"]);
    let second = sandbox.finish(sandbox.run_command(&text, &["--resume"])).exits(0);
    assert_eq!(second.says(&["nothing is missing"]).folders().len(), 1);
}
