//! A lock file as text: sorted, so that the same trust is the same bytes on every machine.

use std::fmt::{self, Write as _};

use super::entry::{Entry, FORMAT, LockFile};
use crate::config::Isolation;

/// What stands at its top.
const HEADER: &str = "# Which plugin files are trusted, and what each may do. `host plugin lock` writes it; grants may be \
                      edited by hand.\n";

impl fmt::Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}format = {FORMAT}")?;
        self.plugins.iter().try_for_each(|(id, entry)| write_entry(f, id, entry))
    }
}

fn write_entry(f: &mut fmt::Formatter<'_>, id: &str, entry: &Entry) -> fmt::Result {
    let id = key(id);
    write!(f, "\n[plugin.{id}]\n")?;
    match entry.isolation {
        Some(Isolation::Worker) => writeln!(f, "isolation = \"worker\"")?,
        Some(Isolation::InProcess) => writeln!(f, "isolation = \"in-process\"")?,
        None => {}
    }
    list(f, "origins", entry.asks.origins.iter().map(ToString::to_string))?;
    list(f, "secrets", entry.asks.secrets.iter().cloned())?;
    list(f, "env", entry.asks.env.iter().cloned())?;
    if entry.allow_unchecked_layout {
        writeln!(f, "allow_unchecked_layout = true")?;
    }
    if let Some(signer) = &entry.signed_by {
        writeln!(f, "signed_by = {}", text(signer))?;
    }
    for (platform, file) in &entry.files {
        write!(f, "\n[plugin.{id}.platform.{}]\n", key(platform))?;
        writeln!(f, "version = {}", text(&file.version))?;
        writeln!(f, "sha256 = \"{}\"", file.sha256)?;
    }
    Ok(())
}

/// A list with one item a line, so that a diff shows what is granted; an empty one in one.
fn list(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: impl Iterator<Item = String>,
) -> fmt::Result {
    let items: Vec<String> = items.map(|item| text(&item)).collect();
    match items.as_slice() {
        [] => writeln!(f, "{name} = []"),
        [one] => writeln!(f, "{name} = [{one}]"),
        many => writeln!(f, "{name} = [\n    {},\n]", many.join(",\n    ")),
    }
}

/// A key as it stands, or quoted if it must be.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { text(name) }
}

/// A text in quotes. What a manifest says is a stranger's: no character of it ends the quotes.
fn text(content: &str) -> String {
    let mut quoted = String::with_capacity(content.len() + 2);
    quoted.push('"');
    for char in content.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
