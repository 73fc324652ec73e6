//! Plugins in processes of their own: whatever becomes of one, the host and the other backends go on.


use super::{ECHO, echoes, hostile, run};

#[test]
fn a_plugin_runs_where_the_run_file_says_and_else_in_a_worker() {
    for (key, expected) in [
        ("", "worker"),
        ("isolation = \"worker\"\n", "worker"),
        ("isolation = \"in-process\"\n", "in-process"),
    ] {
        let outcome = run(&format!("{}{key}", hostile("echo")), ECHO, &echoes(20)).exits(0);
        let warns = outcome.stderr.contains("runs in-process, with the host's own rights");
        assert_eq!(warns, expected == "in-process", "{}", outcome.stderr);
        let left = outcome.left();
        assert_eq!(left.counts(), [20, 20, 0]);
        assert_eq!(left.manifest["plugins"][0]["isolation"], expected);
    }
}
