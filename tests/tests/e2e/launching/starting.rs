//! How a server comes up, or does not.

use host_tests::{left, mock::Mock};

use super::{
    super::CUSTOM, ECHO, Running, Sandbox, all_end, built, echoes, free_port, fs, ids, log,
    run_file, sandbox, with_script,
};

#[test]
fn a_launched_server_answers_the_run_and_is_gone_after_it() {
    let port = free_port();
    let sandbox = sandbox(3, port, "");
    let outcome = sandbox.run(&run_file(port, "")).exits(0);
    let outcome = outcome.says(&["backend `own`: waiting for its server, 2m at most", "is up"]);
    assert_eq!(outcome.left().counts(), [3, 3, 0]);
    let log = log(&sandbox, "launch-own.log");
    assert!(log.starts_with(&format!("serving\nhttp://127.0.0.1:{port}\n")), "{log}");
    all_end(&ids(&sandbox));
}

#[test]
fn servers_of_one_run_come_up_at_once() {
    let ports = [free_port(), free_port()];
    let host = built::host();
    let script = |own: &str, other: &str, port: u16| {
        // Each waits for the other: one after the other they would never be up.
        format!(
            "touch {own}\nwhile ! test -e {other}; do sleep 0.01; done\n\
             exec '{}' mock --port {port}\n",
            host.display()
        )
    };
    let sandbox = with_script(2, "");
    let mut text = String::new();
    for (own, other, port) in [("a", "b", ports[0]), ("b", "a", ports[1])] {
        sandbox.write(&format!("{own}.sh"), script(own, other, port));
        text.push_str(&format!(
            "[[backend]]\nid = \"{own}\"\nplugin = \"tgi\"\nbase_url = \"http://127.0.0.1:{port}/tgi\"\n\
             launch = [\"sh\", \"{own}.sh\"]\n"
        ));
    }
    let left = sandbox.run(&format!("{text}{ECHO}")).exits(0).left();
    for id in ["a", "b"] {
        assert_eq!(left::counts(left.of_backend(id)), [2, 2, 0], "{id}");
    }
}

#[test]
fn a_server_whose_plugin_knows_no_health_is_up_when_it_takes_connections() {
    let port = free_port();
    let sandbox = sandbox(2, port, "");
    let text = format!(
        "run.max_retries = 0\n[[backend]]\nbase_url = \"http://127.0.0.1:{port}/openai\"\n\
         launch = [\"sh\", \"serve.sh\"]\n{CUSTOM}\n{ECHO}"
    );
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!(left.counts(), [2, 2, 0]);
}

#[test]
fn a_server_that_comes_up_by_itself_is_waited_for() {
    let port = free_port();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(2));
    let text =
        run_file(port, "").replace("launch = [\"sh\", \"serve.sh\"]", "wait_ready = \"60s\"");
    let mut running = Running::start(&sandbox, &text);
    running.until_it_says("backend `own`: waiting for its server, 1m at most\n");
    let _mock = Mock::start_at(port, &[]);
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

#[test]
fn a_mock_stands_for_a_server_that_would_be_started() {
    let sandbox = with_script(1, "touch started\nexit 1\n");
    let text = run_file(1, "").replace("http://127.0.0.1:1/tgi", "mock:tgi");
    let _ = sandbox.run(&text).exits(0);
    assert!(!sandbox.path("started").exists());
}

#[test]
fn a_recording_stands_for_a_server_that_would_be_started() {
    let port = free_port();
    let sandbox = sandbox(2, port, "");
    let text = run_file(port, "");
    let run = |option| sandbox.finish(sandbox.run_command(&text, &[option, "cassette"])).exits(0);
    let _ = run("--record");
    sandbox.write("serve.sh", "touch started\nexit 1\n");
    assert_eq!(run("--replay").left().counts(), [2, 2, 0]);
    assert!(!sandbox.path("started").exists());
}

#[test]
fn replicas_have_servers_of_their_own() {
    let ports = [free_port(), free_port()];
    let sandbox = with_script(20, "");
    let mut text = "[[backend]]\nid = \"own\"\nplugin = \"tgi\"\n".to_owned();
    for port in ports {
        let host = built::host();
        text.push_str(&format!(
            "[[backend.replica]]\nbase_url = \"http://127.0.0.1:{port}/tgi\"\n\
             launch = [\"{}\", \"mock\", \"--port\", \"{port}\"]\n",
            host.display()
        ));
    }
    let left = sandbox.run(&format!("{text}{ECHO}")).exits(0).left();
    assert_eq!(left.counts(), [20, 20, 0]);
    for (index, port) in ports.iter().enumerate() {
        let log = log(&sandbox, &format!("launch-own-{index}.log"));
        assert_eq!(log, format!("http://127.0.0.1:{port}\n"));
    }
}

#[test]
fn a_server_that_is_never_ready_is_given_up_and_ended() {
    let script = "echo $PPID $$ 1 1 > ids\necho loading the model\nexec sleep 1000\n";
    let sandbox = with_script(1, script);
    let text = run_file(free_port(), "").replace("launch", "wait_ready = \"1s\"\nlaunch");
    let outcome = sandbox.run(&text).exits(5);
    let _ = outcome.says(&[
        "backend `own` (http://127.0.0.1:",
        "its server is not ready within the 1s of wait_ready: transport",
        "/launch-own.log:\n  loading the model",
    ]);
    all_end(&ids(&sandbox)[..2]);
}

#[test]
fn a_server_that_ends_at_once_is_told_with_its_last_words() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo \"line $i\" >&2; done; exit 3";
    let outcome = with_script(1, script).run(&run_file(free_port(), "")).exits(5).says(&[
        "backend `own`: its server ended with exit status 3; the end of runs/",
        "/launch-own.log:\n  line 2\n",
        "\n  line 11\n",
    ]);
    assert!(!outcome.stderr.contains("line 1\n"), "{}", outcome.stderr);
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let sandbox = with_script(1, "");
    let text = run_file(free_port(), "").replace("\"sh\", \"serve.sh\"", "\"no-such-server\"");
    let _ = sandbox.run(&text).exits(5).says(&[
        "backend `own`: its server ended with exit status 127",
        "cannot start `no-such-server`: No such file",
    ]);
}

#[test]
fn a_backend_whose_server_fails_does_not_keep_the_others() {
    let port = free_port();
    let sandbox = sandbox(2, port, "");
    let broken = "[[backend]]\nid = \"broken\"\nplugin = \"tgi\"\nbase_url = \"http://127.0.0.1:1\"\nlaunch = [\"false\"]\n";
    let outcome = sandbox.run(&run_file(port, "").replace(ECHO, &format!("{broken}{ECHO}")));
    let outcome = outcome.exits(5).says(&["`broken`: its server ended", "go on without it"]);
    assert_eq!(left::counts(outcome.left().of_backend("own")), [2, 2, 0]);
}

#[test]
fn no_server_is_started_where_another_one_listens() {
    let mock = Mock::start(&[]);
    let sandbox = with_script(1, "touch started\nexec sleep 1000\n");
    let text = run_file(1, "").replace("http://127.0.0.1:1/tgi", &mock.url("tgi"));
    let _ = sandbox.run(&text).exits(5).says(&["something listens at http://127.0.0.1:"]);
    assert!(!sandbox.path("started").exists());
}

#[test]
fn a_server_that_tells_its_keys_does_not_get_them_into_its_log() {
    let port = free_port();
    let sandbox = sandbox(1, port, "");
    let script = fs::read_to_string(sandbox.path("serve.sh")).unwrap();
    sandbox.write("serve.sh", format!("echo \"key: $TGI_API_KEY!\"\n{script}"));
    let text = run_file(port, "").replace("launch", "secrets = [\"api_key\"]\nlaunch");
    let _ = sandbox.run_with(&text, &[("TGI_API_KEY", "sk-of-the-server")]).exits(0);
    let log = log(&sandbox, "launch-own.log");
    assert!(log.starts_with("key: [redacted:api_key]!\nserving\n"), "{log}");
}
