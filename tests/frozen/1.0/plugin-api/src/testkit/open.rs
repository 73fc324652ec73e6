//! Opens a backend as the host would.

use serde_json::Value;

use crate::{backend::Backend, host::Host, message::OpenHead};

/// Opens a backend as the host would, with this configuration and nothing granted.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// let echo: Echo = plugin_api::testkit::open(plugin_api::json!({ "base_url": "http://test" }))?;
/// let error = plugin_api::testkit::open::<Echo>(plugin_api::json!({ "base_url": 1 })).err().unwrap();
/// assert!(error.starts_with("config.base_url: "), "{error}");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The configuration is not of the backend's type, or the backend refuses it; what the user would read.
pub fn open<B: Backend>(config: Value) -> Result<B, String> {
    open_with(OpenHead { config, ..OpenHead::default() })
}

/// What the host tells a backend that has this configuration and the secrets of these slots.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::testkit::{granted, open_with};
/// let config = plugin_api::json!({ "base_url": "http://test" });
/// let echo: Echo = open_with(granted(config, &["api_key"]))?;
/// # Ok::<(), String>(())
/// ```
pub fn granted(config: Value, secrets: &[&str]) -> OpenHead {
    let secrets = secrets.iter().map(|slot| (*slot).to_owned()).collect();
    OpenHead { config, secrets, ..OpenHead::default() }
}

/// Opens a backend as the host would, with these grants: see [`granted`].
///
/// # Errors
/// As for [`open`].
pub fn open_with<B: Backend>(mut head: OpenHead) -> Result<B, String> {
    let config = crate::export::configuration::<B>(head.config.take())?;
    B::open(config, Host::new(None, head)).map_err(|error| error.message)
}
