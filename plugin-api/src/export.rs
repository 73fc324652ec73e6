//! The exported functions of a plugin, and the macro that puts them into a library.
//!
//! Nothing here runs before `open`: an entry is a static. Every function catches panics, since a panic
//! that leaves a library cannot be caught by the host.

use std::{cell::Cell, ffi::c_void, sync::Arc};

use crate::{
    abi::{self, Buf, Bytes, HostRef, MessageRef},
    backend::Backend,
    host::Host,
    message::{self, OpenHead},
    panics,
    session::{Session, Stepped},
    shared::{KEPT_ACTIONS, Outgoing},
};

/// One configured backend as the tables pass it around.
struct Instance<B> {
    backend: Arc<B>,
    host: Host,
}

/// The tables of a backend.
pub const fn plugin<B: Backend>() -> abi::Plugin {
    abi::Plugin {
        size: size_of::<abi::Plugin>(),
        open: open::<B>,
        close: close::<B>,
        begin: begin::<B>,
        step: step::<B>,
        end: end::<B>,
        extension,
    }
}

/// Runs `body`; a panic becomes its status, and its description goes to `report`.
fn guarded(report: impl FnOnce(String), body: impl FnOnce() -> i32) -> i32 {
    match panics::inside(body) {
        Ok(status) => status,
        Err(panic) => {
            report(panics::describe(&*panic));
            panics::forget(panic);
            abi::STATUS_PANICKED
        }
    }
}

unsafe extern "C" fn open<B: Backend>(
    config: MessageRef,
    host: *const abi::Host,
    _instance: u64,
    out: *mut *mut abi::Backend,
    err: *mut Buf,
) -> i32 {
    // SAFETY: the contract has the message live for the call, and the host's table for the process.
    let (head, host) = unsafe { (config.head.as_slice(), HostRef::new(host)) };
    panics::silence(host);
    // SAFETY: the host passes a valid place for one `Buf` that holds nothing to release, or null.
    let report = |text: String| unsafe { put_error(err, text) };
    guarded(report, || {
        match open_backend::<B>(head, host) {
            Ok(instance) => {
                // SAFETY: the host passes a valid place for the pointer.
                unsafe { out.write(Box::into_raw(Box::new(instance)).cast()) };
                abi::STATUS_OK
            }
            Err(text) => {
                report(text);
                abi::STATUS_FAILED
            }
        }
    })
}

/// Writes a reason to where the host wants it.
///
/// # Safety
/// `err` must be null or valid for a write.
unsafe fn put_error(err: *mut Buf, text: String) {
    if !err.is_null() {
        // SAFETY: the caller promises a valid place; what it held before needs no release.
        unsafe { err.write(Buf::from(text.into_bytes())) };
    }
}

fn open_backend<B: Backend>(head: &[u8], host: Option<HostRef>) -> Result<Instance<B>, String> {
    let mut head: OpenHead = message::read(head)
        .map_err(|error| format!("the host's open message cannot be read: {error}"))?;
    let config = std::mem::take(&mut head.config);
    let config = configuration::<B>(config)?;
    let host = Host::new(host, head);
    let backend = B::open(config, host.clone()).map_err(|error| error.message)?;
    Ok(Instance { backend: Arc::new(backend), host })
}

/// Reads a backend's configuration. The error names the key.
pub(crate) fn configuration<B: Backend>(config: serde_json::Value) -> Result<B::Config, String> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let path = error.path().to_string();
        if path == "." {
            format!("config: {}", error.inner())
        } else {
            format!("config.{path}: {}", error.inner())
        }
    })
}

unsafe extern "C" fn close<B: Backend>(backend: *mut abi::Backend) {
    guarded(drop, || {
        // SAFETY: the pointer came from `open` of the same `B`, and the host closes it once.
        drop(unsafe { Box::from_raw(backend.cast::<Instance<B>>()) });
        abi::STATUS_OK
    });
}

unsafe extern "C" fn begin<B: Backend>(
    backend: *mut abi::Backend,
    token: u64,
    out: *mut *mut abi::Session,
    err: *mut Buf,
) -> i32 {
    // SAFETY: the host passes a valid place for one `Buf` that holds nothing to release, or null.
    let report = |text: String| unsafe { put_error(err, text) };
    guarded(report, || {
        // SAFETY: the pointer came from `open` of the same `B`; `close` comes after every session's `end`.
        let instance = unsafe { &*backend.cast::<Instance<B>>() };
        let session = Session::new(Arc::clone(&instance.backend), instance.host.table(), token);
        // SAFETY: the host passes a valid place for the pointer.
        unsafe { out.write(Box::into_raw(Box::new(session)).cast()) };
        abi::STATUS_OK
    })
}

thread_local! {
    /// The list that a step collects its actions in, kept from step to step.
    static OUT: Cell<Vec<Outgoing>> = const { Cell::new(Vec::new()) };
}

unsafe extern "C" fn step<B: Backend>(
    session: *mut abi::Session,
    event: MessageRef,
    sink: *const abi::Sink,
) -> i32 {
    guarded(drop, || {
        // SAFETY: the pointer came from `begin` of the same `B`; calls for one session are serial.
        let session = unsafe { &mut *session.cast::<Session<B>>() };
        // SAFETY: the message lives for the call.
        let (head, body) = unsafe { (event.head.as_slice(), event.body.as_slice()) };
        let mut out = OUT.try_with(Cell::take).unwrap_or_default();
        let stepped = session.step(head, body, &mut out);
        for (head, body) in out.drain(..) {
            // SAFETY: the sink is valid during the call. `push` borrows the head and takes the body over.
            unsafe { ((*sink).push)((*sink).ctx, Bytes::new(&head), Buf::from(body)) };
            abi::recycle(head);
        }
        // A thread that is ending has no place to keep the list; it is then simply dropped.
        if out.capacity() <= KEPT_ACTIONS {
            let _ = OUT.try_with(|kept| kept.set(out));
        }
        match stepped {
            Stepped::Ok => abi::STATUS_OK,
            Stepped::Failed => abi::STATUS_FAILED,
            Stepped::Panicked => abi::STATUS_PANICKED,
        }
    })
}

unsafe extern "C" fn end<B: Backend>(session: *mut abi::Session) {
    guarded(drop, || {
        // SAFETY: the pointer came from `begin` of the same `B`, and the host ends it once.
        drop(unsafe { Box::from_raw(session.cast::<Session<B>>()) });
        abi::STATUS_OK
    });
}

unsafe extern "C" fn extension(_id: Bytes) -> *const c_void {
    std::ptr::null()
}

/// Length of the parts together.
pub const fn length(parts: &[&str]) -> usize {
    let (mut total, mut part) = (0, 0);
    while part < parts.len() {
        total += parts[part].len();
        part += 1;
    }
    total
}

/// The parts one after the other, `skip` bytes of zero before them.
pub const fn concat<const N: usize>(parts: &[&str], skip: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let (mut at, mut part) = (skip, 0);
    while part < parts.len() {
        let text = parts[part].as_bytes();
        let mut byte = 0;
        while byte < text.len() {
            bytes[at] = text[byte];
            at += 1;
            byte += 1;
        }
        part += 1;
    }
    bytes
}

/// The manifest section: magic, version, length, JSON.
pub const fn section<const N: usize>(parts: &[&str]) -> [u8; N] {
    const HEADER: usize = 16;
    assert!(N == HEADER + length(parts), "the section's length is that of its parts");
    let mut bytes = concat::<N>(parts, HEADER);
    let version = abi::MANIFEST_VERSION.to_le_bytes();
    #[allow(clippy::cast_possible_truncation, reason = "a manifest of 4 GiB does not compile")]
    let length = ((N - HEADER) as u32).to_le_bytes();
    let mut at = 0;
    while at < 8 {
        bytes[at] = abi::MANIFEST_MAGIC[at];
        at += 1;
    }
    at = 0;
    while at < 4 {
        bytes[8 + at] = version[at];
        bytes[12 + at] = length[at];
        at += 1;
    }
    bytes
}

/// `text` if it needs no escaping inside a JSON string; does not compile otherwise.
pub const fn plain(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        assert!(
            bytes[at] >= 0x20 && bytes[at] != b'"' && bytes[at] != b'\\',
            "license and homepage in Cargo.toml may hold no quotes, backslashes or control characters"
        );
        at += 1;
    }
    text
}

/// Makes a library a plugin: exports one [`Backend`] with its manifest.
///
/// The crate needs `crate-type = ["cdylib"]`, `panic = "unwind"` (the default), and two files beside its
/// `Cargo.toml`: `plugin.json` ([`crate::manifest::Declared`]) and `config.schema.json` (generated, see
/// `testkit::check_schema`). Version, licence and homepage come from `Cargo.toml`.
///
/// ```
/// # // The two files, since no plugin lies beside this crate's `Cargo.toml`.
/// # macro_rules! include_str {
/// #     (concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json")) => {
/// #         r#"{ "id": "echo", "capabilities": ["generate"] }"#
/// #     };
/// #     (concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json")) => { "{}" };
/// # }
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// // `impl Backend for Echo` stands above.
/// plugin_api::export_plugin!(Echo);
/// # unsafe extern "C" { #[link_name = "host_plugin_entry"] safe static ENTRY: plugin_api::abi::Entry; }
/// # let manifest = std::str::from_utf8(unsafe { ENTRY.manifest.as_slice() }).unwrap();
/// # assert!(manifest.contains(r#""plugin":{ "id": "echo","#), "{manifest}");
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($backend:ty) => {
        #[cfg(panic = "abort")]
        compile_error!("a plugin must catch its panics: set panic = \"unwind\" in the profile");

        const _: () = {
            use $crate::{abi, export};

            const PARTS: &[&str] = &[
                "{\"format\":1,\"version\":\"",
                env!("CARGO_PKG_VERSION"),
                "\",\"abi\":",
                $crate::version::ABI_FLOOR_JSON,
                ",\"sdk\":\"",
                $crate::version::SDK_VERSION,
                "\",\"rustc\":\"",
                $crate::version::RUSTC_VERSION,
                "\",\"license\":\"",
                export::plain(env!("CARGO_PKG_LICENSE")),
                "\",\"homepage\":\"",
                export::plain(env!("CARGO_PKG_HOMEPAGE")),
                "\",\"layout_check\":",
                if $crate::LAYOUT_CHECK { "true" } else { "false" },
                ",\"plugin\":",
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json")),
                ",\"config_schema\":",
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json")),
                "}",
            ];
            const JSON: usize = export::length(PARTS);

            // The entry points into it, so that no linker takes it for unused: compilers before 1.87 do not mark it.
            #[used]
            #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__hostplugin"))]
            #[cfg_attr(windows, unsafe(link_section = ".hostpl"))]
            #[cfg_attr(
                not(any(target_os = "macos", windows)),
                unsafe(link_section = ".hostplugin")
            )]
            static SECTION: [u8; JSON + 16] = export::section(PARTS);

            static PLUGIN: abi::Plugin = export::plugin::<$backend>();

            unsafe extern "C" fn plugin() -> *const abi::Plugin {
                &raw const PLUGIN
            }

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static host_plugin_entry: abi::Entry = abi::Entry {
                magic: abi::MAGIC,
                abi_major: abi::ABI_MAJOR,
                abi_minor: $crate::version::ABI_MINOR_NEEDED,
                size: size_of::<abi::Entry>(),
                flags: 0,
                manifest: abi::Bytes::new(SECTION.split_at(16).1),
                plugin,
            };
        };

        $crate::export_layout!();
    };
}

/// Exports the layout of the leaf types, if the SDK was built with it.
#[cfg(feature = "layout-check")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_layout {
    () => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static host_plugin_layout: $crate::abi::layout::Layout =
                $crate::abi::layout::Layout::of_this_build();
        };
    };
}

/// Exports nothing: the SDK was built without the layout check.
#[cfg(not(feature = "layout-check"))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_layout {
    () => {};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_magic_version_length_json() {
        const PARTS: &[&str] = &["{\"a\":", "1}"];
        const SECTION: [u8; 16 + 7] = section(PARTS);
        assert_eq!(&SECTION[..8], b"HOSTPLUG");
        assert_eq!(SECTION[8..16], [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(&SECTION[16..], b"{\"a\":1}");
    }
}
