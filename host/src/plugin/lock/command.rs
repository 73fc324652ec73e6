//! The command that trusts a plugin, as it is typed: errors name it.

use std::path::Path;

/// The command that locks the plugin of this id as it is now, with this grant, found in this folder.
pub fn command(id: &str, grant: Option<&str>, folder: Option<&Path>) -> String {
    let mut command = format!("host plugin lock {id}");
    if let Some(grant) = grant {
        command.push_str(&format!(" --grant {id}={grant}"));
    }
    if let Some(folder) = folder {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        command.push_str(&format!(" --plugin-dir {}", typed(folder)));
    }
    command
}

/// A path as it is typed into a shell.
pub fn typed(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
