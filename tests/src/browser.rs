//! A real browser that a test tells what to do: Debian's Chromium without a window, over the pipe of its DevTools
//! protocol (messages of JSON that end in a zero byte). No port, and no other crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::skip::skipped;

/// Where the browser may be.
const PATHS: [&str; 3] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// What pages asked for.
    requested: Vec<String>,
    /// Exceptions, and what the browser says of a page.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none, with the reason told, where no browser is installed.
    pub fn start() -> Option<Self> {
        let Some(path) = PATHS.into_iter().find(|path| Path::new(path).exists()) else {
            skipped("there is no Chromium here (apt-get install chromium)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The protocol's pipe is descriptors 3 and 4, and nothing else of the browser's may get into it.
        let mut process = Command::new("/bin/sh")
            .args(["-c", "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec \"$@\"", "sh", path])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let mut browser = Self {
            process,
            to,
            from,
            session: None,
            last_id: 0,
            requested: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 900);
        Some(browser)
    }

    /// Gives the page this size.
    pub fn size(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Opens a file, and waits until its script has loaded everything.
    pub fn open(&mut self, path: &Path) {
        let path = fs::canonicalize(path).unwrap();
        self.call("Page.navigate", json!({ "url": format!("file://{}", path.display()) }));
        self.until("document.body?.dataset.loaded === 'true'");
    }

    /// What an expression of the page is worth; a promise is waited for.
    pub fn value(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let told = self.call("Runtime.evaluate", asked);
        assert!(told["exceptionDetails"].is_null(), "{script}: {told}");
        told["result"]["value"].clone()
    }

    /// Waits until an expression of the page is true, looking again whenever the page changes.
    pub fn until(&mut self, condition: &str) {
        let seen = self.value(&format!(
            "new Promise((done) => {{
                const look = () => {{ if ({condition}) done(true); }};
                new MutationObserver(look).observe(document,
                    {{ subtree: true, childList: true, attributes: true, characterData: true }});
                setTimeout(() => done(document.body?.innerText ?? 'no page'), 60_000);
                look();
            }})"
        ));
        assert_eq!(seen, true, "never: {condition}");
    }

    /// Clicks on the first element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({}).click()", Value::from(selector)));
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let script = format!("document.querySelector({}).textContent", Value::from(selector));
        self.value(&script).as_str().unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    /// How many elements a selector finds.
    pub fn count(&mut self, selector: &str) -> u64 {
        let script = format!("document.querySelectorAll({}).length", Value::from(selector));
        self.value(&script).as_u64().unwrap()
    }

    /// Types a text into a field.
    pub fn type_into(&mut self, selector: &str, text: &str) {
        let (selector, text) = (Value::from(selector), Value::from(text));
        self.value(&format!(
            "(() => {{
                const field = document.querySelector({selector});
                field.value = {text};
                field.dispatchEvent(new Event('input', {{ bubbles: true }}));
            }})()"
        ));
    }

    /// Presses a key with a letter on it.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let code = key.to_ascii_uppercase().bytes().next().unwrap();
            let event = json!({ "type": kind, "key": key, "text": if kind == "keyDown" { key } else { "" },
                                "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Exceptions in pages, and what the browser complained of, so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Everything that pages asked for so far, themselves included.
    pub fn requested(&self) -> &[String] {
        &self.requested
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.to.flush().unwrap();
        loop {
            let message = self.message();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser went away");
        serde_json::from_slice(&bytes).unwrap()
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => {
                self.complaints.push(params["exceptionDetails"].to_string());
            }
            "Log.entryAdded" => self.complaints.push(params["entry"].to_string()),
            "Runtime.consoleAPICalled" => self.complaints.push(params["args"].to_string()),
            "Network.requestWillBeSent" => {
                self.requested.push(params["request"]["url"].as_str().unwrap_or("").to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
