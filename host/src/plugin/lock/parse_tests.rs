//! Lock files that are good, and what is said of those that are not.

use super::super::entry::platform;
use super::*;

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn parse(text: &str) -> Result<LockFile, String> {
    LockFile::parse(Path::new("plugins.lock"), text).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_reads_back_and_is_written_the_same() {
    let text = format!(
        "format = 1\n[plugin.zeta.platform.x86_64-linux]\nversion = \"1\\u0022\\\\\\u007f\"\nsha256 = \"{DIGEST}\"\n\
         [plugin.acme]\nisolation = \"in-process\"\nsecrets = [\"b\", \"a\"]\nenv = [\"HOME\"]\n\
         origins = [\"https://b.org\", \"https://*.a.org\"]\nallow_unchecked_layout = true\nsigned_by = \"{KEY}\"\n\
         [plugin.acme.platform.x86_64-linux]\nversion = \"2\"\nsha256 = \"{DIGEST}\"\n\
         [plugin.acme.platform.aarch64-linux]\nversion = \"1\"\nsha256 = \"{DIGEST}\"\n"
    );
    let lock = parse(&text).unwrap();
    let acme = &lock.plugins["acme"];
    assert_eq!(acme.isolation, Some(Isolation::InProcess));
    assert_eq!(acme.asks.secrets.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(acme.allow_unchecked_layout);
    assert_eq!(acme.signed_by.as_deref(), Some(KEY));
    assert_eq!(acme.files["aarch64-linux"].version, "1");
    let zeta = &lock.plugins["zeta"];
    assert_eq!(
        (zeta.isolation, zeta.files["x86_64-linux"].version.as_str()),
        (None, "1\"\\\u{7f}")
    );

    let written = lock.to_string();
    assert_eq!(parse(&written).unwrap(), lock);
    assert_eq!(parse(&written).unwrap().to_string(), written);
    let order = ["acme]", "https://*.a.org", "https://b.org", "aarch64", "x86_64", "zeta]"];
    let places: Vec<_> = order.iter().map(|text| written.find(text).unwrap()).collect();
    assert!(places.is_sorted(), "{written}");
    assert!(platform().ends_with("-linux"));
}

#[test]
fn each_problem_is_told_with_its_line_and_key() {
    let file =
        format!("[plugin.a.platform.x86_64-linux]\nversion = \"1\"\nsha256 = \"{DIGEST}\"\n");
    let table = [
        ("", "plugins.lock:1: format: it is missing\n  hint: write `format = 1`".to_owned()),
        (
            "format = 2\nwhatever = 1\n",
            "plugins.lock:1: format: expected 1, found 2\n  hint: a newer host wrote it".to_owned(),
        ),
        ("format = 1\n[plugin\n", "plugins.lock:2: ".to_owned()),
        (
            "format = 1\nplugins = 1\n",
            "plugins.lock:2: plugins: unknown key\n  hint: did you mean `plugin`?".to_owned(),
        ),
        (
            "format = 1\n[plugin.a]\norigins = []\n",
            "plugins.lock:2: plugin.a: it names no file: expected a table, [plugin.a.platform.NAME]"
                .to_owned(),
        ),
        (
            "format = 1\nFILE[plugin.a]\nisolation = \"here\"\n",
            "plugins.lock:6: plugin.a.isolation: expected \"worker\" or \"in-process\"".to_owned(),
        ),
        (
            "format = 1\nFILE[plugin.a]\norigins = [\"http://a.org\"]\nsecret = []\n",
            "plugins.lock:6: plugin.a.origins: `http://a.org` would go unencrypted to another machine; http is for \
             loopback only, write https\nplugins.lock:7: plugin.a.secret: unknown key\n  hint: did you mean `secrets`?"
                .to_owned(),
        ),
        (
            "format = 1\n[plugin.a.platform.x]\nversion = \"1\"\nsha256 = \"abc\"\n",
            "plugins.lock:4: plugin.a.platform.x.sha256: expected a SHA-256 as 64 hex digits, found \"abc\""
                .to_owned(),
        ),
        (
            "format = 1\nFILE[plugin.a]\nsigned_by = \"key\"\nallow_unchecked_layout = 1\n",
            "plugins.lock:6: plugin.a.signed_by: `key` is no minisign public key; write the second line of its file, \
             which begins with `RW`\nplugins.lock:7: plugin.a.allow_unchecked_layout: expected true or false"
                .to_owned(),
        ),
    ];
    for (text, expected) in table {
        // The tables of one plugin may stand in any order.
        let error = parse(&text.replace("FILE", &file)).unwrap_err();
        assert!(error.starts_with(&expected), "{text}\n{error}");
    }
}
