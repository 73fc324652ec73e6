//! The schema in the manifest is that of the code.

#[test]
fn the_schema_is_fresh() {
    plugin_api::testkit::check_schema::<tgi::Tgi>(env!("CARGO_MANIFEST_DIR")).unwrap();
}
