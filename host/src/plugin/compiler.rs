//! Compilers that are known to build plugins that go wrong. A plugin's manifest says which one built it.

/// Versions of rustc, and what is wrong with what they build.
const KNOWN_BAD: [(&str, &str); 1] =
    [("1.98.0", "it miscompiles vtables; build with 1.98.1 or later")];

/// What is wrong with a compiler, as it names itself in a manifest (`rustc 1.95.0 (…)`); none if nothing is known.
pub fn known_fault(rustc: &str) -> Option<&'static str> {
    let version = rustc.split_whitespace().nth(1)?;
    KNOWN_BAD.iter().find(|(bad, _)| *bad == version).map(|(_, fault)| *fault)
}

/// The same as a warning about a plugin.
pub fn warning(plugin: &str, rustc: &str) -> Option<String> {
    let fault = known_fault(rustc)?;
    Some(format!("plugin `{plugin}` was built with {rustc}, which is known to be faulty: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_faulty_version_is_warned_about() {
        for (rustc, is_bad) in [
            ("rustc 1.98.0 (0123456789 2026-10-01)", true),
            ("rustc 1.98.0", true),
            ("rustc 1.98.1 (0123456789 2026-10-09)", false),
            ("rustc 1.198.0", false),
            ("rustc 1.98.0-beta.1 (0123456789 2026-09-01)", false),
            ("", false),
        ] {
            assert_eq!(warning("p", rustc).is_some(), is_bad, "{rustc}");
        }
    }
}
