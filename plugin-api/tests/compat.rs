//! Growth: a plugin built before, and a host built after, a change that appends a table entry and message
//! fields work together, and the other way round.
//!
//! The change is made on a copy of this crate. A small host, built against either copy, loads a plugin
//! built against the other and runs a sample. Cold this takes half a minute of two cores, warm a tenth of
//! a second: the builds are kept under the target folder.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An entry of the plugin's table and fields of two messages: file, text that is there once, what it becomes.
const CHANGE: [(&str, &str, &str); 8] = [
    // Cargo tells the two copies apart in their common target folder by the version alone.
    ("Cargo.toml", "version = \"0.1.0\"\nedition", "version = \"0.1.1\"\nedition"),
    ("abi/Cargo.toml", "version = \"1.0.0\"", "version = \"1.0.1\""),
    (
        "abi/src/tables.rs",
        "    pub extension: unsafe extern \"C\" fn(id: Bytes) -> *const c_void,\n}",
        "    pub extension: unsafe extern \"C\" fn(id: Bytes) -> *const c_void,\n    \
         /// Appended.\n    pub answer: Option<unsafe extern \"C\" fn() -> u64>,\n}",
    ),
    (
        "src/export.rs",
        "        extension,\n    }",
        "        extension,\n        answer: Some(answer),\n    }",
    ),
    (
        "src/export.rs",
        "unsafe extern \"C\" fn extension(",
        "unsafe extern \"C\" fn answer() -> u64 {\n    42\n}\n\nunsafe extern \"C\" fn extension(",
    ),
    (
        "src/message/event.rs",
        "    /// The items, numbered from 0.\n",
        "    /// Appended.\n    #[serde(default)]\n    pub mood: u32,\n    /// The items, numbered from 0.\n",
    ),
    (
        "src/message/action.rs",
        "    /// The item that is answered.\n",
        "    /// Appended.\n    #[serde(default = \"seven\")]\n    pub weight: u32,\n    /// The item that is answered.\n",
    ),
    (
        "src/message/action.rs",
        "/// Head of [`Action::Done`].\n",
        "fn seven() -> u32 {\n    7\n}\n\n/// Head of [`Action::Done`].\n",
    ),
];

/// What makes a `Done` and a `Start` of the changed copy where the unchanged one lacks the field, and what writes them.
const FILL: [(&str, &str, &str); 6] = [
    (
        "src/io.rs",
        "Action::Done(Done { item, answer })",
        "Action::Done(Done { item, answer, weight: 9 })",
    ),
    ("src/message/usual.rs", "Self::Done(Done { item,", "Self::Done(Done { weight: 7, item,"),
    ("src/message/usual/read.rs", "Some(Done { item,", "Some(Done { weight: 7, item,"),
    ("src/message/usual/read.rs", "Some(Start { request_id,", "Some(Start { mood: 0, request_id,"),
    ("src/message/usual/write.rs", "let Start { request_id,", "let Start { mood, request_id,"),
    (
        "src/message/usual/write.rs",
        "        self.put(r#\",\"requests\":\"#);\n",
        "        self.optional(r#\",\"mood\":\"#, Some(*mood));\n        self.put(r#\",\"requests\":\"#);\n",
    ),
];

/// The copies have no benchmark.
const TRIM: (&str, &str, &str) =
    ("Cargo.toml", "[[bench]]\nname = \"round_trip\"\nharness = false\n", "");

#[test]
fn plugins_and_hosts_from_before_and_after_a_growth_work_together() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compat");
    let old = Side::lay_out(&scratch.join("old"), &[TRIM]);
    let change: Vec<_> = CHANGE.iter().chain(&FILL).chain(&[TRIM]).copied().collect();
    let new = Side::lay_out(&scratch.join("new"), &change);
    assert_eq!(old.host(&old.plugin), "no entry, weight absent: hi");
    assert_eq!(new.host(&new.plugin), "entry 42, weight 9: hi");
    assert_eq!(new.host(&old.plugin), "no entry, weight 7: hi");
    assert_eq!(old.host(&new.plugin), "no entry, weight absent: hi");
}

/// One copy of the contract, with a plugin and a host built against it.
struct Side {
    host: PathBuf,
    plugin: PathBuf,
}

impl Side {
    fn lay_out(folder: &Path, change: &[(&str, &str, &str)]) -> Self {
        let grown = change.len() > 1;
        let api = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["Cargo.toml", "build.rs", "src", "abi"] {
            copy(&api.join(part), &folder.join("plugin-api").join(part), change, part);
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        write(&folder.join("Cargo.toml"), WORKSPACE);
        write(&folder.join("plugin/Cargo.toml"), &PLUGIN_TOML.replace("NAME", &name));
        write(
            &folder.join("plugin/plugin.json"),
            "{\"id\":\"sample\",\"capabilities\":[\"generate\"]}",
        );
        write(&folder.join("plugin/config.schema.json"), "{}");
        write(&folder.join("plugin/src/lib.rs"), PLUGIN);
        write(&folder.join("host/Cargo.toml"), &HOST_TOML.replace("NAME", &name));
        let (appended, filled) =
            if grown { (READ_ENTRY, "done.weight") } else { ("None", "\"absent\"") };
        let host = HOST.replace("APPENDED_ENTRY", appended).replace("APPENDED_FIELD", filled);
        let mood = if grown { "mood: 3," } else { "" };
        write(&folder.join("host/src/main.rs"), &host.replace("MOOD", mood));

        let target = folder.parent().unwrap().join("target");
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let built = target.join("debug");
        Self {
            host: built.join(format!("host_{name}")),
            plugin: built.join(format!("libplugin_{name}.so")),
        }
    }

    /// Runs this side's host with a plugin.
    fn host(&self, plugin: &Path) -> String {
        let output = Command::new(&self.host).arg(plugin).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Copies a file or folder, changed. A file that is there already with the same text is left alone, so
/// that cargo need not build it again.
fn copy(from: &Path, to: &Path, change: &[(&str, &str, &str)], name: &str) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap().file_name();
            let name = format!("{name}/{}", entry.to_string_lossy());
            copy(&from.join(&entry), &to.join(&entry), change, &name);
        }
        return;
    }
    let mut text = fs::read_to_string(from).unwrap();
    for (file, before, after) in change {
        if *file == name {
            assert_eq!(text.matches(before).count(), 1, "{name}: {before}");
            text = text.replace(before, after);
        }
    }
    write(to, &text);
}

fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const WORKSPACE: &str = r#"[workspace]
resolver = "2"
members = ["plugin-api", "plugin-api/abi", "plugin", "host"]

[profile.dev]
debug = false
"#;

const PLUGIN_TOML: &str = r#"[package]
name = "plugin_NAME"
version = "0.1.0"
edition = "2024"
license = "MIT"

[lib]
crate-type = ["cdylib"]

[dependencies]
plugin-api = { path = "../plugin-api", default-features = false }
"#;

const PLUGIN: &str = r#"
use plugin_api::*;

struct Sample;

impl Backend for Sample {
    type Config = serde_json::Value;

    fn open(_: serde_json::Value, _: Host) -> Result<Self> {
        Ok(Self)
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        io.again().await;
        Ok(Completion::new(request.prompt.as_text()?, "stop"))
    }
}

export_plugin!(Sample);
"#;

const HOST_TOML: &str = r#"[package]
name = "host_NAME"
version = "0.1.0"
edition = "2024"

[dependencies]
plugin-api = { path = "../plugin-api", default-features = false }
libloading = "0.9.0"
"#;

/// Reads the appended entry only if `size` covers it.
const READ_ENTRY: &str = r#"
    (plugin.size >= std::mem::offset_of!(abi::Plugin, answer) + size_of::<usize>())
        .then(|| unsafe { (&raw const (*table).answer).read() })
        .flatten()
        .map(|answer| unsafe { answer() })
"#;

const HOST: &str = r##"
use std::{ffi::c_void, ptr};
use plugin_api::{abi::{self, Buf, Bytes, MessageRef}, message::{Action, Event, Start}, *};

unsafe extern "C" fn wake(_: *mut c_void, _: u64) {}
unsafe extern "C" fn cancelled(_: *mut c_void, _: u64) -> u8 { 0 }
unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Bytes) {}
unsafe extern "C" fn extension(_: *mut c_void, _: Bytes) -> *const c_void { ptr::null() }

static TABLE: abi::Host =
    abi::Host { size: size_of::<abi::Host>(), ctx: ptr::null_mut(), wake, cancelled, log, extension };

unsafe extern "C" fn push(ctx: *mut c_void, head: Bytes, body: Buf) -> i32 {
    let list = unsafe { &mut *ctx.cast::<Vec<(Vec<u8>, Vec<u8>)>>() };
    list.push((unsafe { head.as_slice() }.to_vec(), body.as_slice().to_vec()));
    0
}

/// What is read of a table whatever its size: the part that the first version had.
#[repr(C)]
struct Known {
    size: usize,
    open: unsafe extern "C" fn(MessageRef, *const abi::Host, u64, *mut *mut abi::Backend, *mut Buf) -> i32,
    close: unsafe extern "C" fn(*mut abi::Backend),
    begin: unsafe extern "C" fn(*mut abi::Backend, u64, *mut *mut abi::Session, *mut Buf) -> i32,
    step: unsafe extern "C" fn(*mut abi::Session, MessageRef, *const abi::Sink) -> i32,
    end: unsafe extern "C" fn(*mut abi::Session),
}

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let library = Box::leak(Box::new(unsafe { libloading::Library::new(path) }.unwrap()));
    let entry = unsafe { &**library.get::<*const abi::Entry>(abi::ENTRY_SYMBOL).unwrap() };
    let table = unsafe { (entry.plugin)() };
    let plugin = unsafe { &*table.cast::<Known>() };
    let appended: Option<u64> = APPENDED_ENTRY;
    let _ = table;

    let (mut backend, mut session, mut err) = (ptr::null_mut(), ptr::null_mut(), Buf::empty());
    let open = MessageRef::new(b"{\"config\":{}}", b"");
    assert_eq!(unsafe { (plugin.open)(open, &TABLE, 0, &mut backend, &mut err) }, 0);
    assert_eq!(unsafe { (plugin.begin)(backend, 1, &mut session, &mut err) }, 0);

    let mut body = Vec::new();
    let head = r#"{"generate":{"prompt":{"text":[0,2]}}}"#;
    let requests = vec![serde_json::from_str(head).unwrap()];
    body.extend_from_slice(b"hi");
    let start = Start { request_id: "r".into(), attempt: 1, deadline_ms: 0, MOOD requests };
    let mut pushed: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut step = |event: &Event<'_>, body: &[u8]| {
        let head = serde_json::to_vec(event).unwrap();
        let sink = abi::Sink { size: size_of::<abi::Sink>(), ctx: (&raw mut pushed).cast(), push };
        assert_eq!(unsafe { (plugin.step)(session, MessageRef::new(&head, body), &sink) }, 0);
        pushed.pop().unwrap()
    };
    let (head, _) = step(&Event::Start(start), &body);
    assert!(matches!(message::read(&head).unwrap(), Action::Again {}));
    let (head, body) = step(&Event::Resumed {}, b"");
    let Action::Done(done) = message::read(&head).unwrap() else { panic!("not done") };
    let weight = APPENDED_FIELD;
    let Answer::Completion(completion) = Answer::resolve(done.answer, &body).unwrap() else {
        panic!("not a completion")
    };
    unsafe { (plugin.end)(session) };
    unsafe { (plugin.close)(backend) };
    let entry = appended.map_or("no entry".to_owned(), |answer| format!("entry {answer}"));
    println!("{entry}, weight {weight}: {}", completion.choices[0].text);
}
"##;
