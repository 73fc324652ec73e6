//! The C header says what the Rust types say, byte for byte.

use std::{
    fmt::Write as _,
    fs,
    mem::{align_of, offset_of, size_of},
    process::Command,
};

use plugin_api::abi;

use crate::library::{cc, scratch};

/// What C must print for each type: `size`, `align` and each `offset`.
macro_rules! layout {
    ($expected:ident, $program:ident, $($rust:ident = $c:literal { $($field:ident),* })*) => {$(
        for (what, value) in [("sizeof", size_of::<abi::$rust>()), ("_Alignof", align_of::<abi::$rust>())] {
            writeln!($expected, "{what} {} {value}", $c).unwrap();
            writeln!($program, "printf(\"{what} {} %zu\\n\", {what}({}));", $c, $c).unwrap();
        }
        $(
            let field = stringify!($field);
            writeln!($expected, "{}.{field} {}", $c, offset_of!(abi::$rust, $field)).unwrap();
            writeln!($program, "printf(\"{}.{field} %zu\\n\", offsetof({}, {field}));", $c, $c).unwrap();
        )*
    )*};
}

#[test]
fn sizes_alignments_and_offsets_are_equal_in_c_and_rust() {
    let Some(mut cc) = cc() else { return };
    let mut expected = String::new();
    let mut program =
        String::from("#include <stdio.h>\n#include \"host_plugin.h\"\nint main(void) {\n");
    layout! { expected, program,
        Bytes = "host_plugin_bytes" { ptr, len }
        Buf = "host_plugin_buf" { }
        MessageRef = "host_plugin_message" { head, body }
        Sink = "host_plugin_sink" { size, ctx, push }
        Host = "host_plugin_host" { size, ctx, wake, cancelled, log, extension }
        Plugin = "host_plugin_table" { size, open, close, begin, step, end, extension }
        Entry = "host_plugin_entry_t" {
            magic, abi_major, abi_minor, size, flags, manifest, plugin
        }
    }
    // Its fields are private.
    for (field, offset) in abi::Buf::OFFSETS {
        writeln!(expected, "host_plugin_buf.{field} {offset}").unwrap();
        let c = format!("offsetof(host_plugin_buf, {field})");
        writeln!(program, "printf(\"host_plugin_buf.{field} %zu\\n\", {c});").unwrap();
    }
    for (name, value) in [
        ("HOST_PLUGIN_MAGIC", abi::MAGIC),
        ("HOST_PLUGIN_ABI_MAJOR", abi::ABI_MAJOR.into()),
        ("HOST_PLUGIN_ABI_MINOR", abi::ABI_MINOR.into()),
        ("HOST_PLUGIN_MANIFEST_VERSION", abi::MANIFEST_VERSION.into()),
        ("HOST_PLUGIN_OK", u64::try_from(abi::STATUS_OK).unwrap()),
        ("HOST_PLUGIN_FAILED", u64::try_from(abi::STATUS_FAILED).unwrap()),
        ("HOST_PLUGIN_PANICKED", u64::try_from(abi::STATUS_PANICKED).unwrap()),
        ("HOST_PLUGIN_LOG_ERROR", plugin_api::Level::Error as u64),
        ("HOST_PLUGIN_LOG_TRACE", plugin_api::Level::Trace as u64),
    ] {
        writeln!(expected, "{name} {value}").unwrap();
        writeln!(program, "printf(\"{name} %llu\\n\", (unsigned long long)({name}));").unwrap();
    }
    writeln!(expected, "section {}", abi::MANIFEST_SECTION).unwrap();
    program.push_str("printf(\"section %s\\n\", HOST_PLUGIN_SECTION);\nreturn 0;\n}\n");

    let (source, binary) = (scratch().join("layout.c"), scratch().join("layout"));
    fs::write(&source, program).unwrap();
    let output = cc.arg(&source).arg("-o").arg(&binary).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(binary).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// The test above names each field by hand; this keeps it from missing one at a table's end.
#[test]
fn the_last_field_named_is_the_last_there_is() {
    const WORD: usize = size_of::<usize>();
    assert_eq!(size_of::<abi::Sink>(), offset_of!(abi::Sink, push) + WORD);
    assert_eq!(size_of::<abi::Host>(), offset_of!(abi::Host, extension) + WORD);
    assert_eq!(size_of::<abi::Plugin>(), offset_of!(abi::Plugin, extension) + WORD);
    assert_eq!(size_of::<abi::Entry>(), offset_of!(abi::Entry, plugin) + WORD);
    assert_eq!(size_of::<abi::Buf>(), 4 * WORD);
}
