//! What the manifest says is what the code does.

use local::backend::Local;
use plugin_api::{manifest::Declared, testkit};

#[test]
fn the_schema_is_that_of_the_configuration() {
    testkit::check_schema::<Local>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn the_plugin_declares_that_it_computes() {
    let declared: Declared = serde_json::from_str(include_str!("../plugin.json")).unwrap();
    assert!(declared.limits.blocking);
}

#[test]
fn without_a_model_it_says_what_to_write() {
    let error = testkit::open::<Local>(serde_json::json!({})).err().unwrap();
    assert!(error.contains("[backend.asset.model]"), "{error}");
}
