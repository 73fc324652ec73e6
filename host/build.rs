//! Packs what `host plugin new` writes into the binary: the templates, and the SDK as it lies in this tree. So an author
//! needs the host and crates.io alone, and has the SDK that fits this host.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::DeflateEncoder};

/// Folders of the SDK that only its own workspace has a use for.
const NOT_PACKED: [&str; 5] = ["benches", "fuzz", "target", "tests", "__pycache__"];

/// Tables of the SDK's manifests that only those folders have a use for.
const NOT_OF_A_COPY: [&str; 4] = ["[dev-dependencies]", "[[bench]]", "[[example]]", "[[test]]"];

fn main() -> io::Result<()> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    for (path, name) in [
        ("../plugin-api", "sdk"),
        ("src/scaffold/templates", "templates"),
        // The guide's example in C is what a plugin in C begins with.
        ("../plugin-api/examples/echo.c", "templates/c/src/my_plugin.c"),
        // A script has its helper beside it.
        ("../plugin-api/python/host_plugin.py", "templates/script/host_plugin.py"),
    ] {
        println!("cargo::rerun-if-changed={path}");
        pack(&host.join(path), name, &mut packed)?;
    }
    fs::write(out.join("scaffold.deflate"), packed.finish()?)
}

/// Adds a file, or all below a folder, in the order of names: length and bytes of its name, then of its content.
fn pack(path: &Path, name: &str, packed: &mut impl Write) -> io::Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        for entry in entries {
            let below = format!("{name}/{}", entry.to_string_lossy());
            let of_sdk = name.split('/').next() == Some("sdk");
            if !(of_sdk && NOT_PACKED.iter().any(|folder| entry == *folder)) {
                pack(&path.join(&entry), &below, packed)?;
            }
        }
        return Ok(());
    }
    let mut content = fs::read(path)?;
    if name.starts_with("sdk/") && path.ends_with("Cargo.toml") {
        content = manifest_of_a_copy(&String::from_utf8_lossy(&content)).into_bytes();
    }
    for bytes in [name.as_bytes(), &content] {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        packed.write_all(&length.to_le_bytes())?;
        packed.write_all(bytes)?;
    }
    Ok(())
}

/// A manifest without the tables that are not of a copy. A table begins a paragraph, perhaps after a comment.
fn manifest_of_a_copy(manifest: &str) -> String {
    let mut left_out = false;
    let kept = manifest.split("\n\n").filter(|paragraph| {
        if let Some(header) = paragraph.lines().find(|line| line.starts_with('[')) {
            left_out = NOT_OF_A_COPY.contains(&header);
        }
        !left_out
    });
    let kept = kept.collect::<Vec<_>>().join("\n\n");
    format!("{}\n", kept.trim_end())
}
