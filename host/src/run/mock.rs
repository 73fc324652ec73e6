//! What a run knows of the mock: that it can be started, where it is then, and what its wires are called. The
//! mock itself is the command line's to bring, so that nothing else depends on it.

use url::Url;

use super::backend_error::BackendError;
use crate::config::{BaseUrl, nearest};

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

/// Where the mock is that a backend's `base_url` stands for: the wire's name is the path below the mock's origin.
/// None for a server of its own.
///
/// # Errors
/// No such wire, or the mock does not start.
pub fn url(
    mock: &dyn Mock,
    backend: &str,
    base_url: Option<&BaseUrl>,
) -> Result<Option<Url>, BackendError> {
    let Some(flavor) = base_url.and_then(BaseUrl::mock) else { return Ok(None) };
    let flavors = mock.flavors();
    if !flavors.iter().any(|known| known == flavor) {
        let hint = match nearest(flavor, flavors.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `mock:{near}`?"),
            None => format!("it speaks: {}", flavors.join(", ")),
        };
        let (backend, flavor) = (backend.to_owned(), flavor.to_owned());
        return Err(BackendError::UnknownFlavor { backend, flavor, hint });
    }
    let failed = |reason| BackendError::Mock { backend: backend.to_owned(), reason };
    let origin = mock.origin().map_err(failed)?;
    origin.join(flavor).map(Some).map_err(|error| failed(error.to_string()))
}
