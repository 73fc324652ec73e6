//! What a run knows of the mock: that it can be started, where it is then, and what its wires are called. The
//! mock itself is the command line's to bring, so that nothing else depends on it.

use url::Url;

use super::backend_error::BackendError;
use crate::config::{BackendConfig, BaseUrl, nearest};

/// A mock server that lives as long as this does.
pub trait Mock {
    /// The names of the wires that it speaks.
    fn flavors(&self) -> Vec<String>;

    /// Where it listens, `http://127.0.0.1:PORT`. The first call starts it.
    ///
    /// # Errors
    /// Why it does not start.
    fn origin(&self) -> Result<Url, String>;
}

/// Where a backend's mock is: the wire's name is the path below the mock's origin. None for a backend with a
/// server of its own.
///
/// # Errors
/// No such wire, or the mock does not start.
pub fn url(mock: &dyn Mock, config: &BackendConfig) -> Result<Option<Url>, BackendError> {
    let Some(flavor) = config.base_url.as_ref().and_then(BaseUrl::mock) else { return Ok(None) };
    let flavors = mock.flavors();
    if !flavors.iter().any(|known| known == flavor) {
        let hint = match nearest(flavor, flavors.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `mock:{near}`?"),
            None => format!("it speaks: {}", flavors.join(", ")),
        };
        let (backend, flavor) = (config.id.clone(), flavor.to_owned());
        return Err(BackendError::UnknownFlavor { backend, flavor, hint });
    }
    let failed = |reason| BackendError::Mock { backend: config.id.clone(), reason };
    let origin = mock.origin().map_err(failed)?;
    origin.join(flavor).map(Some).map_err(|error| failed(error.to_string()))
}
