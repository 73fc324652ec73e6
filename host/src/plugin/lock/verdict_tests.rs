//! What follows from an entry, for plugins of the installation and for strangers.

use plugin_api::manifest::SecretSlot;

use super::*;
use crate::plugin::lock::entry::{ANY, Asks, LockFile, platform};

/// A verdict of an entry in the lock file `plugins.lock`.
fn verdict(entry: Option<Entry>, installed: bool) -> Verdict {
    let file = LockFile {
        plugins: entry.clone().map(|entry| ("acme".to_owned(), entry)).into_iter().collect(),
    };
    let lock = Lock { path: "plugins.lock".into(), sha256: Sha256::of(b""), file };
    Verdict {
        id: "acme".to_owned(),
        file: "my plugins/libacme.so".into(),
        platform: platform(),
        installed,
        trust: Trust {
            lock: Some(Arc::new(lock)),
            path: "plugins.lock".into(),
            locked: false,
            unasked: false,
        },
        entry,
    }
}

fn entry(isolation: Option<Isolation>, platform: &str) -> Entry {
    let file = LockedFile { version: "1.0".to_owned(), sha256: Sha256::of(b"bytes") };
    Entry { isolation, files: [(platform.to_owned(), file)].into(), ..Entry::default() }
}

#[test]
fn the_hosts_process_is_for_its_own_plugins_and_those_that_are_granted_it() {
    use Isolation::{InProcess, Worker};
    let here = &platform();
    let table = [
        // Entry's isolation and platform, installed, what the run file asks for, what comes of it.
        (None, true, None, Some(InProcess)),
        (None, true, Some(Worker), Some(Worker)),
        (None, false, None, Some(Worker)),
        (None, false, Some(InProcess), None),
        (Some((None, here.as_str())), true, Some(InProcess), Some(InProcess)),
        (Some((None, here)), false, Some(InProcess), None),
        (Some((Some(Worker), here)), false, None, Some(Worker)),
        (Some((Some(Worker), here)), false, Some(InProcess), None),
        (Some((Some(Worker), here)), true, None, Some(Worker)),
        (Some((Some(Worker), here)), true, Some(InProcess), None),
        (Some((Some(InProcess), here)), false, None, Some(InProcess)),
        (Some((Some(InProcess), here)), false, Some(Worker), Some(Worker)),
        (Some((Some(InProcess), here)), false, Some(InProcess), Some(InProcess)),
        // The bytes on this machine were never locked.
        (Some((Some(InProcess), "other-os")), false, None, Some(Worker)),
        (Some((Some(InProcess), "other-os")), false, Some(InProcess), None),
    ];
    for (said, installed, asked, expected) in table {
        let verdict = verdict(said.map(|(isolation, on)| entry(isolation, on)), installed);
        let got = verdict.isolation(asked).ok();
        assert_eq!(got, expected, "{said:?} {installed} {asked:?}");
    }
}

#[test]
fn a_refusal_names_the_command_that_would_allow_it() {
    let asked = Some(Isolation::InProcess);
    let command = "host plugin lock acme --grant acme=in-process --plugin-dir 'my plugins' --lock plugins.lock";
    for (verdict, reason) in [
        (verdict(None, false), "did not come with this host, and plugins.lock has no entry for it"),
        (
            verdict(Some(entry(Some(Isolation::Worker), &platform())), false),
            "is to run in a worker, says plugins.lock",
        ),
    ] {
        assert_eq!(
            verdict.isolation(asked).unwrap_err().to_string(),
            format!(
                "isolation = \"in-process\": plugin `acme` (my plugins/libacme.so) {reason}; leave it out, and it runs in \
                 a worker, or grant it: `{command}`"
            )
        );
    }
}

#[test]
fn only_the_bytes_that_were_locked_are_used() {
    let locked = verdict(Some(entry(None, &platform())), false);
    assert!(locked.check(b"bytes", Sha256::of(b"bytes")).is_ok());
    assert_eq!(
        locked.check(b"others", Sha256::of(b"others")).unwrap_err().to_string(),
        format!(
            "plugin `acme` (my plugins/libacme.so) is not the file that plugins.lock trusts: its SHA-256 is {}, the \
             locked one (version 1.0) is {}; if the change is meant, `host plugin lock acme --plugin-dir 'my plugins' \
             --lock plugins.lock` takes it over",
            Sha256::of(b"others"),
            Sha256::of(b"bytes")
        )
    );
    for (entry, reason) in [
        (None, "plugins.lock has no entry for it".to_owned()),
        (
            Some(entry(None, "other-os")),
            format!("plugins.lock has no file of it for {}", platform()),
        ),
    ] {
        let mut verdict = verdict(entry, false);
        assert!(verdict.check(b"any", Sha256::of(b"any")).is_ok());
        assert!(verdict.must_be_locked().is_ok());
        verdict.trust.locked = true;
        let error = verdict.must_be_locked().unwrap_err().to_string();
        assert!(error.contains(&reason), "{error}");
    }
    let mut strict = locked;
    strict.trust.locked = true;
    assert!(strict.must_be_locked().is_ok());
}

#[test]
fn a_script_is_locked_for_all_machines_and_a_library_for_its_own() {
    let other = || "other-os".to_owned();
    for (is_for, locked, reason) in [
        (ANY.to_owned(), other(), "plugins.lock has no file of it for all machines".to_owned()),
        (platform(), ANY.to_owned(), format!("plugins.lock has no file of it for {}", platform())),
    ] {
        let of = |locked: &str| {
            let mut verdict = verdict(Some(entry(None, locked)), false);
            verdict.platform.clone_from(&is_for);
            verdict.trust.locked = true;
            verdict
        };
        let error = of(&locked).must_be_locked().unwrap_err().to_string();
        assert!(error.contains(&reason), "{error}");
        // A script that was locked for this machine alone is held to that.
        for own in [of(&is_for), of(&platform())] {
            assert!(own.must_be_locked().is_ok());
            assert!(own.check(b"bytes", Sha256::of(b"bytes")).is_ok());
            assert!(own.check(b"others", Sha256::of(b"others")).is_err());
        }
    }
}

#[test]
fn an_entry_narrows_what_a_manifest_asks_for() {
    let slot = |name: &str, optional| SecretSlot {
        slot: name.to_owned(),
        optional,
        ..SecretSlot::default()
    };
    let declared =
        Declared { secrets: vec![slot("a", true), slot("b", true)], ..Declared::default() };
    let free = verdict(None, false);
    assert!(free.withheld(&declared, &[]).unwrap().is_empty());
    assert!(free.allows_variable("HOME") && !free.allows_unchecked_layout());
    let asks =
        Asks { secrets: ["a".to_owned()].into(), env: ["A".to_owned()].into(), ..Asks::default() };
    let narrow = verdict(Some(Entry { asks, ..entry(None, "other-os") }), false);
    assert_eq!(narrow.withheld(&declared, &["a".to_owned()]).unwrap(), ["b".to_owned()].into());
    assert!(narrow.allows_variable("A") && !narrow.allows_variable("HOME"));
    let needed = "plugin `acme` needs the secret `b`, which plugins.lock does not grant it; add it to `secrets` in \
                  [plugin.acme] there";
    let needs = Declared { secrets: vec![slot("b", false)], ..Declared::default() };
    for error in [narrow.withheld(&declared, &["b".to_owned()]), narrow.withheld(&needs, &[])] {
        assert_eq!(error.unwrap_err().to_string(), needed);
    }
    let mut unchecked = entry(None, &platform());
    unchecked.allow_unchecked_layout = true;
    assert!(verdict(Some(unchecked), false).allows_unchecked_layout());
}
