//! Files of every wrong kind, made from one tiny library that the C compiler builds.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;

/// The manifest that the tests' library carries.
pub(crate) fn manifest_json(id: &str) -> String {
    json!({"format": 1, "version": "0.1.0", "abi": {"major": ABI_MAJOR, "minor": ABI_MINOR}, "plugin": {"id": id}}).to_string()
}

/// The section's bytes around a JSON text.
pub(crate) fn section(json: &str) -> Vec<u8> {
    let mut bytes = MANIFEST_MAGIC.to_vec();
    bytes.extend(MANIFEST_VERSION.to_le_bytes());
    bytes.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
    bytes.extend(json.as_bytes());
    bytes
}

/// Builds a library with this section (none if empty) and exported symbol; `None` where there is no C compiler.
pub(crate) fn build(
    dir: &Path,
    name: &str,
    section: &[u8],
    symbol: &str,
) -> Option<std::path::PathBuf> {
    let (source, library) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.so")));
    let bytes = section.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let manifest = match section {
        [] => String::new(),
        _ => format!(
            "__attribute__((used, section(\"{MANIFEST_SECTION}\"))) static const unsigned char manifest[] = {{{bytes}}};\n"
        ),
    };
    std::fs::write(&source, format!("{manifest}int {symbol} = 1;\n")).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostdlib", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    let _ = std::fs::remove_file(&source);
    match built {
        Ok(status) if status.success() => Some(library),
        _ => {
            // Cargo hides what a test prints, and not this.
            let _ = writeln!(std::io::stderr().lock(), "skipped: needs a C compiler called `cc`");
            None
        }
    }
}

fn library(section: &[u8], symbol: &str) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    Some(std::fs::read(build(dir.path(), "p", section, symbol)?).unwrap())
}

fn outcome(bytes: &[u8]) -> String {
    inspect(bytes).map_or_else(
        |refusal| refusal.to_string(),
        |found| format!("plugin {}", found.manifest.plugin.id),
    )
}

fn patched(bytes: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

#[test]
fn a_library_with_a_manifest_is_a_plugin_and_nothing_else_is() {
    let good_section = section(&manifest_json("tiny"));
    let Some(good) = library(&good_section, ENTRY_SYMBOL) else { return };
    assert_eq!(outcome(&good), "plugin tiny");
    let found = inspect(&good).unwrap();
    assert_eq!(found.manifest_bytes, manifest_json("tiny").as_bytes());

    let other = if MACHINE == elf::EM_X86_64 { elf::EM_AARCH64 } else { elf::EM_X86_64 };
    let table = [
        (Vec::new(), "the file is empty".to_owned()),
        (b"#!/bin/sh\n".to_vec(), "not an ELF file".into()),
        (b"hi".to_vec(), "not an ELF file".into()),
        (patched(&good, 4, &[1]), "not a 64-bit little-endian ELF file".into()),
        (
            patched(&good, 18, &other.0.to_le_bytes()),
            format!(
                "built for another machine ({}; this host runs on {})",
                machine_name(other),
                machine_name(MACHINE)
            ),
        ),
        (patched(&good, 16, &[2]), "an ELF file, but not a shared library".into()),
        (
            good[..40].to_vec(),
            "truncated or damaged: the ELF header ends at byte 64, the file at 40".into(),
        ),
        (
            library(&[], ENTRY_SYMBOL).unwrap(),
            "not a plugin of this host: no .hostplugin section".into(),
        ),
        (
            library(&good_section, "another_symbol").unwrap(),
            "does not export the symbol host_plugin_entry".into(),
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(outcome(&bytes), expected);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_and_never_panics() {
    let Some(good) = library(&section(&manifest_json("tiny")), ENTRY_SYMBOL) else { return };
    for len in (0..good.len()).step_by(7) {
        assert!(inspect(&good[..len]).is_err(), "{len} of {}", good.len());
    }
    // Damage anywhere may go unseen (that is what the lock is for), but never panics.
    for at in (0..good.len()).step_by(3) {
        let _ = inspect(&patched(&good, at, &[good[at] ^ 0xff]));
    }
}

#[test]
fn a_damaged_manifest_says_what_is_wrong() {
    let whole = section(&manifest_json("tiny"));
    let too_long = patched(&whole, 12, &u32::MAX.to_le_bytes());
    let says = |json: &str| outcome_of_section(&section(json));
    let table = [
        (outcome_of_section(&whole[..9]), "damaged manifest: it ends within its header".to_owned()),
        (outcome_of_section(b"NOTMAGIC00000000"), "damaged manifest: it does not begin with HOSTPLUG".into()),
        (outcome_of_section(&patched(&whole, 8, &[9])), "damaged manifest: its format is 9, this host reads 1".into()),
        (outcome_of_section(&too_long), format!("damaged manifest: it says that it has 4294967295 bytes, and has {}", whole.len() - 16)),
        (says("{"), "damaged manifest: EOF while parsing an object at line 1 column 1".into()),
        (says(&manifest_json("tiny").replace("\"format\":1", "\"format\":2")), "the manifest's format is 2; this host reads 1: it needs a newer host".into()),
        (says(&manifest_json("No Spaces")), "the manifest's id \"No Spaces\" is not made of lower-case letters, digits, `-` and `_`".into()),
        (outcome_of_section(&whole), "ok".into()),
    ];
    for (got, expected) in table {
        assert_eq!(got, expected);
    }
}

fn outcome_of_section(bytes: &[u8]) -> String {
    frame(bytes)
        .and_then(parse_manifest)
        .and_then(|manifest| check_manifest(&manifest))
        .map_or_else(|refusal| refusal.to_string(), |_| "ok".into())
}

#[test]
fn the_majors_agree_and_the_minor_is_a_floor() {
    let table = [
        ((1, 0), (1, 0), true),
        ((1, 0), (1, 3), true),
        ((1, 3), (1, 3), true),
        ((1, 4), (1, 3), false),
        ((2, 0), (1, 3), false),
        ((0, 1), (1, 3), false),
    ];
    for (plugin, host, expected) in table {
        assert_eq!(
            check_abi(plugin.0, plugin.1, host.0, host.1).is_ok(),
            expected,
            "{plugin:?} {host:?}"
        );
    }
    let refusal = Refusal::Abi { major: 7, minor: 2 };
    assert_eq!(
        refusal.to_string(),
        format!("needs ABI 7.2; this host has {ABI_MAJOR}.{ABI_MINOR}; it needs a newer host")
    );
}
