//! The freshness of `config.schema.json`, which the export macro puts into the manifest.

use std::{fs, path::Path};

use serde_json::Value;

use crate::backend::Backend;

/// Compares `config.schema.json` in the crate's folder with the schema of the backend's configuration, and
/// writes it anew if the environment variable `UPDATE_SCHEMA` is set.
///
/// ```no_run
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// // In a test of the author's crate:
/// plugin_api::testkit::check_schema::<Echo>(env!("CARGO_MANIFEST_DIR")).unwrap();
/// ```
///
/// # Errors
/// The file is missing or stale; the message says how to renew it.
pub fn check_schema<B: Backend>(crate_folder: &str) -> Result<(), String> {
    let path = Path::new(crate_folder).join("config.schema.json");
    let schema = schemars::schema_for!(B::Config);
    let fresh = sorted(schema.to_value());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        return fs::write(&path, format!("{fresh:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()));
    }
    let found = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    if found.map(sorted).as_ref() == Some(&fresh) {
        return Ok(());
    }
    Err(format!(
        "{} is not the schema of the configuration: run UPDATE_SCHEMA=1 cargo test",
        path.display()
    ))
}

/// The value with its keys in order, whether or not another crate makes `serde_json` keep them as they came.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().map(|(key, item)| (key, sorted(item))).collect()
        }
        scalar => scalar,
    }
}
