//! Where each service is, and what a run file's `base_url` makes of it.
//!
//! The one rule: `base_url` takes the place of the service's origin, and the path that the mode needs is hung
//! beneath it; a path that has a version segment (`v` and a digit) or ends in `models` is complete already and stays as
//! it is. An endpoint without a name is at its own URL, which is never added to. Pure.

use plugin_api::Result;

use crate::resolve::wrong;

/// Inference Providers. wire.md 5.2.
const ROUTER: &str = "https://router.huggingface.co/v1";
/// Serverless inference. wire.md 5.3.
const SERVERLESS: &str = "https://router.huggingface.co/hf-inference/models";
/// The management of Inference Endpoints. wire.md 5.4.
const MANAGEMENT: &str = "https://api.endpoints.huggingface.cloud/v2";
/// Whose token it is.
const WHOAMI: &str = "https://huggingface.co/api/whoami-v2";

/// Where endpoints are managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// The API's root, its version included.
    pub api: String,
    /// Where the token's user is told.
    pub whoami: String,
}

/// The router's root, its version included.
///
/// # Errors
/// `invalid_request` if `base_url` is no address.
pub fn router(base_url: Option<&str>) -> Result<String> {
    let Some(base_url) = base_url else { return Ok(ROUTER.to_owned()) };
    let base = checked(base_url)?;
    let base = base.strip_suffix("/chat/completions").unwrap_or(base);
    Ok(if version_at(base).is_some() { base.to_owned() } else { format!("{base}/v1") })
}

/// What a model's name is appended to, with a slash between.
///
/// # Errors
/// As for [`router`].
pub fn serverless(base_url: Option<&str>) -> Result<String> {
    let Some(base_url) = base_url else { return Ok(SERVERLESS.to_owned()) };
    let base = checked(base_url)?;
    if base.ends_with("/models") {
        return Ok(base.to_owned());
    }
    let base = base.strip_suffix("/hf-inference").unwrap_or(base);
    Ok(format!("{base}/hf-inference/models"))
}

/// The management API. At a `base_url` of the run file's own, the token's user is told there too.
///
/// # Errors
/// As for [`router`].
pub fn management(base_url: Option<&str>) -> Result<Management> {
    let Some(base_url) = base_url else {
        return Ok(Management { api: MANAGEMENT.to_owned(), whoami: WHOAMI.to_owned() });
    };
    let base = checked(base_url)?;
    let root = version_at(base).map_or(base, |at| &base[..at]);
    let api = if root.len() < base.len() { base.to_owned() } else { format!("{base}/v2") };
    // The real service keeps its users elsewhere.
    let whoami = match api == MANAGEMENT {
        true => WHOAMI.to_owned(),
        false => format!("{root}/api/whoami-v2"),
    };
    Ok(Management { api, whoami })
}

/// An endpoint's own URL, without the route that may have been copied along.
///
/// # Errors
/// As for [`router`].
pub fn endpoint(base_url: &str) -> Result<String> {
    let mut base = checked(base_url)?;
    for route in ["/chat/completions", "/completions", "/v1", "/generate"] {
        base = base.strip_suffix(route).unwrap_or(base);
    }
    Ok(base.to_owned())
}

/// Where the path's version segment begins, at its slash.
fn version_at(base: &str) -> Option<usize> {
    let path = base.find("://").map_or(0, |at| at + 3);
    base.match_indices('/').map(|(at, _)| at).filter(|at| *at >= path).find(|at| {
        let segment = base.get(at + 1..).unwrap_or_default();
        matches!(segment.as_bytes(), [b'v', digit, ..] if digit.is_ascii_digit())
    })
}

/// The address without the slashes at its end. It is not shown if it is wrong: a password may stand in it.
fn checked(base_url: &str) -> Result<&str> {
    let base = base_url.trim_end_matches('/');
    let address = ["http://", "https://"].iter().find_map(|scheme| base.strip_prefix(scheme));
    if address.is_none_or(str::is_empty) || base.contains(['?', '#']) {
        return Err(wrong(
            "base_url: expected `https://host`, with a path if need be and nothing after it",
        ));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_addresses_hold_where_nothing_is_said() {
        assert_eq!(router(None).unwrap(), "https://router.huggingface.co/v1");
        assert_eq!(serverless(None).unwrap(), "https://router.huggingface.co/hf-inference/models");
        let found = management(None).unwrap();
        assert_eq!(found.api, "https://api.endpoints.huggingface.cloud/v2");
        assert_eq!(found.whoami, "https://huggingface.co/api/whoami-v2");
    }

    #[test]
    fn a_path_is_completed_unless_it_is_complete() {
        for (given, expected) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/v1"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1"),
            ("http://127.0.0.1:9/huggingface", "http://127.0.0.1:9/huggingface/v1"),
            ("http://127.0.0.1:9/huggingface/v1/", "http://127.0.0.1:9/huggingface/v1"),
            ("https://a/v1/chat/completions", "https://a/v1"),
            (
                "https://router.huggingface.co/novita/v3/openai",
                "https://router.huggingface.co/novita/v3/openai",
            ),
            // A host is no path, and a word no version.
            ("https://v1.example.org", "https://v1.example.org/v1"),
            ("https://example.org/vllm", "https://example.org/vllm/v1"),
        ] {
            assert_eq!(router(Some(given)).unwrap(), expected, "{given}");
        }
        for (given, expected) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/hf-inference/models"),
            (
                "http://127.0.0.1:9/huggingface/",
                "http://127.0.0.1:9/huggingface/hf-inference/models",
            ),
            (
                "https://router.huggingface.co/hf-inference",
                "https://router.huggingface.co/hf-inference/models",
            ),
            (
                "https://api-inference.huggingface.co/models",
                "https://api-inference.huggingface.co/models",
            ),
        ] {
            assert_eq!(serverless(Some(given)).unwrap(), expected, "{given}");
        }
        for (given, api, whoami) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/v2", "http://127.0.0.1:9/api/whoami-v2"),
            (
                "http://127.0.0.1:9/hf/",
                "http://127.0.0.1:9/hf/v2",
                "http://127.0.0.1:9/hf/api/whoami-v2",
            ),
            (
                "http://127.0.0.1:9/hf/v2",
                "http://127.0.0.1:9/hf/v2",
                "http://127.0.0.1:9/hf/api/whoami-v2",
            ),
            ("https://api.endpoints.huggingface.cloud", MANAGEMENT, WHOAMI),
        ] {
            let found = management(Some(given)).unwrap();
            assert_eq!((&*found.api, &*found.whoami), (api, whoami), "{given}");
        }
    }

    #[test]
    fn an_endpoints_own_url_loses_what_was_copied_along_and_gets_nothing() {
        for (given, expected) in [
            (
                "https://x.us-east-1.aws.endpoints.huggingface.cloud/",
                "https://x.us-east-1.aws.endpoints.huggingface.cloud",
            ),
            ("https://x/v1/", "https://x"),
            ("https://x/v1/chat/completions", "https://x"),
            ("https://x/v1/completions", "https://x"),
            ("https://x/generate", "https://x"),
            ("https://x/models/gpt2", "https://x/models/gpt2"),
        ] {
            assert_eq!(endpoint(given).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for given in
            ["", "host:80", "ftp://host", "https://", "https://u:secret@host/?q", "https://h/#f"]
        {
            for error in [
                router(Some(given)).unwrap_err(),
                serverless(Some(given)).unwrap_err(),
                management(Some(given)).unwrap_err(),
                endpoint(given).unwrap_err(),
            ] {
                assert!(error.message.starts_with("base_url"), "{given}");
                assert!(!error.message.contains("secret"));
            }
        }
    }
}
