//! The commands as they are typed here, each with a success and what goes wrong most, and a folder in which they
//! find what they need. A command that is new belongs into these tables; a test fails as long as it is not.

use std::{fs, path::Path, process::Command, sync::OnceLock};

use host_tests::{built, sandbox::Sandbox};

/// A command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// What it is called in snapshots.
    pub name: &'static str,
    /// What is typed after `host`; no argument has a space.
    pub typed: &'static str,
    /// The exit code.
    pub code: i32,
    /// Whether it writes, also if no `--out`, which is the last, tells it where.
    pub writes: bool,
}

const fn reads(name: &'static str, typed: &'static str, code: i32) -> Case {
    Case { name, typed, code, writes: false }
}

const fn writes(name: &'static str, typed: &'static str, code: i32) -> Case {
    Case { name, typed, code, writes: true }
}

/// Every command that ends by itself.
pub(crate) const CASES: &[Case] = &[
    writes("run", "run run.toml --out new", 0),
    writes("run_several", "run run.toml other.toml --out new", 0),
    writes("run_unscored", "run failing.toml --plugin-dir strange --out new", 3),
    writes("run_spent", "run run.toml --set run.budget.max_tokens=1 --out new", 4),
    reads("run_no_file", "run absent.toml", 2),
    reads("run_wrong_key", "run wrong.toml", 2),
    reads("run_no_plugin", "run run.toml --set backend.plugin=absent", 2),
    reads("run_no_data", "run run.toml --set task.sums.data.path=absent.jsonl", 2),
    reads("run_nothing", "run", 2),
    writes("resume", "resume runs/kept", 0),
    reads("resume_no_run", "resume absent", 2),
    writes("sweep", "sweep template.toml --matrix matrix.toml --out swept", 0),
    writes("sweep_dry_run", "sweep template.toml --matrix matrix.toml --dry-run --out swept", 0),
    reads("sweep_no_matrix", "sweep template.toml --matrix absent.toml", 2),
    writes("collect", "collect runs", 0),
    reads("collect_nothing", "collect home", 2),
    writes("report", "report runs/kept --out page.html", 0),
    reads("report_json", "report runs/kept --format json", 0),
    reads("report_no_run", "report absent", 2),
    reads("release", "release runs/kept", 0),
    reads("release_no_run", "release absent", 2),
    reads("compare", "compare runs/kept runs/other", 0),
    reads("compare_no_run", "compare runs/kept absent", 2),
    reads("compare_no_task", "compare runs/kept runs/other --task absent", 2),
    reads("cache_stats", "cache stats", 0),
    reads("cache_prune", "cache prune --all", 0),
    reads("cache_prune_nothing", "cache prune", 2),
    reads("task_list", "task list", 0),
    reads("task_list_no_folder", "task list --config-dir absent", 2),
    reads("plugin_list", "plugin list", 0),
    reads("plugin_list_no_folder", "plugin list --plugin-dir absent", 2),
    reads("plugin_inspect", "plugin inspect plugins/libtgi.so", 0),
    reads("plugin_inspect_no_plugin", "plugin inspect run.toml", 5),
    reads("plugin_inspect_no_file", "plugin inspect absent.so", 2),
    writes("plugin_new", "plugin new acme --kind c --path new", 0),
    reads("plugin_new_no_name", "plugin new Acme", 2),
    reads("plugin_new_not_empty", "plugin new acme --path runs", 2),
    writes("plugin_lock", "plugin lock tgi", 0),
    reads("plugin_lock_stale", "plugin lock tgi --check", 5),
    reads("plugin_lock_no_plugin", "plugin lock absent", 2),
    reads("plugin_lock_nothing", "plugin lock", 2),
    reads("plugin_lock_remove_none", "plugin lock --remove tgi", 2),
    reads("run_not_locked", "run run.toml --locked", 5),
    reads("mock_no_address", "mock --listen 192.0.2.1", 2),
    reads("mock_wrong_flavor", "mock --flavor absent", 2),
    reads("ctl_no_run", "ctl absent status", 2),
    reads("ctl_over", "ctl runs/kept pause", 2),
    reads("ctl_wrong_setting", "ctl runs/kept set pace=1", 2),
    reads("check", "check run.toml", 0),
    reads("check_wrong_key", "check wrong.toml", 2),
    writes("score", "score runs/kept --set task.on_no_answer=unscored", 0),
    reads("score_no_run", "score absent", 2),
    reads("score_asked", "score runs/kept --set task.prompt.user=x", 2),
    reads("show", "show run.toml", 0),
    reads("show_sample", "show run.toml --sample 1", 0),
    reads("show_no_sample", "show run.toml --sample absent", 2),
    reads("doctor", "doctor", 0),
    reads("doctor_usage", "doctor --absent", 2),
    reads("schema", "schema", 0),
    reads("schema_task", "schema --task", 0),
    reads("schema_output", "schema --output", 0),
    reads("schema_usage", "schema --task --output", 2),
    reads("completions", "completions fish", 0),
    reads("completions_no_shell", "completions absent", 2),
    reads("man", "man cache", 0),
    reads("man_all", "man --out pages", 0),
    reads("man_no_command", "man absent", 2),
    reads("no_command", "absent", 2),
];

/// Every command and what is below it, as it is typed; the first is none at all.
pub(crate) fn every_command() -> Vec<String> {
    let place = Place::new();
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(command) = found.get(next).cloned() {
        next += 1;
        let typed = format!("{command} --help");
        let help = place.sandbox().finish(place.command(&typed)).exits(0).stdout;
        let Some((_, commands)) = help.split_once("Commands:\n") else { continue };
        let commands = commands.split("\n\n").next().unwrap_or_default();
        let names = commands.lines().filter_map(|line| {
            let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
            name.split_whitespace().next()
        });
        for name in names.filter(|name| *name != "help") {
            found.push(format!("{command} {name}").trim().to_owned());
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

/// A folder with all that [`CASES`] name, of which the test may do what it likes.
pub(crate) struct Place(Sandbox);

impl Place {
    /// One of its own for the caller.
    pub(crate) fn new() -> Self {
        static MADE: OnceLock<Sandbox> = OnceLock::new();
        let made = MADE.get_or_init(make);
        let sandbox = Sandbox::new();
        copy(&made.path("."), &sandbox.path("."));
        Self(sandbox)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path(name)
    }

    /// The folder's files, and the host in it.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0
    }

    /// This command, in this folder.
    pub(crate) fn command(&self, typed: &str) -> Command {
        self.0.host(typed.split_whitespace())
    }
}

fn make() -> Sandbox {
    let sandbox = Sandbox::new();
    let run = r#"name = "sums"
[run]
concurrency = 1
[[backend]]
id = "tgi"
plugin = "tgi"
base_url = "mock:tgi"
[[task]]
id = "sums"
kind = "generate"
target = "{{ target }}"
data.path = "data.jsonl"
prompt.user = "{{ says }}"
extract.kind = "number"
"#;
    sandbox.write("run.toml", run);
    sandbox.write("other.toml", run.replace("name = \"sums\"", "name = \"more\""));
    sandbox.write("wrong.toml", run.replace("concurrency = 1", "concurency = 1"));
    // Samples that fail, that never end, and that take a while.
    for (file, mode) in
        [("failing.toml", "fail"), ("endless.toml", "wait_forever"), ("slow.toml", "thread_wake")]
    {
        let plugin = format!("\"hostile\"\nconfig.mode = \"{mode}\"");
        let text = run.replace("\"tgi\"\nbase_url = \"mock:tgi\"", &plugin);
        let text = text.replace("config.mode", "config.ms = 200\nconfig.mode");
        sandbox.write(file, text.replace("concurrency = 1", "concurrency = 1\nmax_retries = 0"));
    }
    let one = |n| format!("{{\"says\": \"What is {n} + 17?\", \"target\": \"{}\"}}\n", n + 17);
    sandbox.write("data.jsonl", (1..4).map(one).collect::<String>());
    let (before, task) = run.split_once("[[task]]\n").unwrap();
    sandbox.write("sums.toml", task);
    let before =
        before.replace("name = \"sums\"\n", "").replace("id = \"tgi\"", "id = {{ model.id }}");
    sandbox.write("template.toml", before + "[[task]]\nfile = \"sums.toml\"\n");
    sandbox.write("matrix.toml", "name = \"sums\"\n[[model]]\nid = \"a\"\n[[model]]\nid = \"b\"\n");
    sandbox.install(&built::tgi(), "plugins");
    sandbox.install(built::hostile(), "strange");
    for name in ["kept", "other"] {
        let _ = sandbox.finish(sandbox.host(["run", "run.toml", "--out", "made"])).exits(0);
        let made = fs::read_dir(sandbox.path("made")).unwrap().next().unwrap().unwrap().path();
        fs::create_dir_all(sandbox.path("runs")).unwrap();
        fs::rename(made, sandbox.path("runs").join(name)).unwrap();
    }
    sandbox
}

/// Copies a folder's content; what is large gets a second name instead.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_none_or(|end| end != "so")
            || fs::hard_link(entry.path(), &target).is_err()
        {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
