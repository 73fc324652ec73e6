//! The files that become the manifest are those of the code.

use plugin_api::{capability::Capability, manifest::Declared, testkit};

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<sglang::Sglang>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn every_declared_capability_is_one_that_the_host_knows() {
    let declared: Declared = serde_json::from_str(include_str!("../plugin.json")).unwrap();
    assert_eq!(declared.id, "sglang");
    let known = |capability: &Capability| !matches!(capability, Capability::Other(_));
    assert!(declared.capabilities.iter().all(known), "{:?}", declared.capabilities);
    assert!(declared.secrets.iter().all(|slot| slot.optional && slot.origins.is_empty()));
}
