//! The layout of the leaf types as `abi_stable` describes it, so that a host can tell a mis-built library.
//!
//! A frozen one-field module whose function signature names every leaf type. It is never called: only
//! its description is compared. Growing tables are left out on purpose, since `abi_stable` refuses an
//! older plugin as soon as the host's table has one more field.

use abi_stable::{
    StableAbi,
    library::{AbiHeaderRef, CheckTypeLayout, LibHeader, RootModule},
    package_version_strings,
    sabi_types::VersionStrings,
};

use crate::{Buf, Bytes, MessageRef};

/// Names every leaf type, nothing else.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LeafTypesRef, prefix_fields = LeafTypesPrefix)))]
pub struct LeafTypes {
    /// Never called.
    #[sabi(last_prefix_field)]
    pub leaves: extern "C" fn(Bytes, MessageRef) -> Buf,
}

impl RootModule for LeafTypesRef {
    abi_stable::declare_root_module_statics! {LeafTypesRef}
    const BASE_NAME: &'static str = "host_plugin";
    const NAME: &'static str = "host_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What a plugin exports under [`crate::LAYOUT_SYMBOL`].
#[repr(transparent)]
pub struct Layout(LibHeader);

impl Layout {
    /// The layout of this build of the leaf types.
    pub const fn of_this_build() -> Self {
        // SAFETY: the constructor is never called: the host reads the description alone. It returns no
        // module at all, so there is no pointer whose type could be wrong.
        Self(unsafe {
            LibHeader::from_constructor::<LeafTypesRef>(no_module, CheckTypeLayout::Yes)
        })
    }
}

extern "C" fn no_module() -> abi_stable::library::RootModuleResult {
    abi_stable::std_types::RResult::RErr(abi_stable::library::RootModuleError::Unwound)
}

/// Compares a library's layout with this build's.
///
/// # Errors
/// One line that says which type differs and how (`abi_stable`'s report runs to hundreds).
///
/// # Safety
/// `header` must be the address of a [`Layout`] in a library that is never unloaded.
pub unsafe fn check(header: AbiHeaderRef) -> Result<(), String> {
    let library = header.upgrade().map_err(|error| last_lines(&error.to_string()))?;
    if library.layout().is_none() {
        return Err("the library leaves its layout out".to_owned());
    }
    library.ensure_layout::<LeafTypesRef>().map_err(|error| in_short(&error.to_string()))
}

/// The innermost type that differs, and its differences, each with the first line of what was expected and found.
fn in_short(report: &str) -> String {
    let (_, inner) = report.rsplit_once("Layout of expected type:").unwrap_or(("", report));
    let mut lines = inner.lines().map(str::trim).filter(|line| !line.is_empty());
    let name = lines.clone().find_map(|line| line.strip_prefix("type:"));
    let mut differences = Vec::new();
    while let Some(line) = lines.next() {
        let Some(error) = line.strip_prefix("Error:") else { continue };
        let of_it = lines.clone().take_while(|line| !line.starts_with("Error:"));
        let after = |heading| of_it.clone().skip_while(|line| *line != heading).nth(1);
        differences.push(match (after("Expected:"), after("Found:")) {
            (Some(expected), Some(found)) => {
                format!("{error} (expected {expected}, found {found})")
            }
            _ => error.to_owned(),
        });
    }
    match name {
        Some(name) if !differences.is_empty() => {
            format!("{name}: {}", differences.join("; ")).chars().take(300).collect()
        }
        _ => last_lines(report),
    }
}

/// The report's conclusion on one line, at most 300 characters.
fn last_lines(report: &str) -> String {
    let mut lines: Vec<&str> =
        report.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(3).collect();
    lines.reverse();
    lines.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_short_names_the_type_and_its_differences() {
        let report = "0 error(s).\n\nLayout of expected type:\n    type:Outer\n    size:8\n\n2 error(s)inside:\n\n\
            Layout of expected type:\n    --- Type Layout ---\n    type:Buf\n    size:32 align:8\n\
            Layout of found type:\n    type:Buf\n    size:40 align:8\n\n\
            Error:incompatible type size\nExpected:\n    32\nFound:\n    40\n\n\
            Error:unexpected field\nExpected:\n    field_name:free\n    size:8\nFound:\n    field_name:mood\n";
        assert_eq!(
            in_short(report),
            "Buf: incompatible type size (expected 32, found 40); \
             unexpected field (expected field_name:free, found field_name:mood)"
        );
        assert_eq!(in_short("one\ntwo\n\nthree\nfour\n"), "two three four");
    }
}
