//! The files that become the manifest are those of the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use plugin_api::{
    capability::Capability,
    manifest::{Declared, Limits},
    testkit,
};

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<custom::Custom>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn the_manifest_grants_nothing_of_its_own() {
    let declared: Declared = serde_json::from_str(include_str!("../plugin.json")).unwrap();
    assert_eq!(declared.id, "custom");
    let known = |capability: &Capability| !matches!(capability, Capability::Other(_));
    assert!(declared.capabilities.iter().all(known), "{:?}", declared.capabilities);
    // Secrets and origins are the run file's to declare.
    assert!(declared.secrets.is_empty() && declared.origins.is_empty() && declared.env.is_empty());
    assert_eq!(declared.limits, Limits::default());
}
