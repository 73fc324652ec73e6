//! Where a provider is reached: the one rule by which a base URL becomes what routes are appended to, and origins.
//!
//! Pure. The rule: a URL with a path is taken as it stands, but for a slash or a route at its end; one without a path
//! gets the path that its wire needs, or, where it is the provider's own origin, the provider's own path. For the two
//! wires whose own clients append the version (Anthropic, Gemini) a path need not end in it.

use plugin_api::{Error, ErrorKind, Result};

use crate::{provider::Provider, table::Flavor};

/// A base URL that routes are appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Without a slash at the end.
    pub url: String,
    /// Whether it is the provider's own, where its key may go without further ado.
    pub own: bool,
    /// `api-version` of the query, if it had one: Azure shows its addresses so.
    pub api_version: Option<String>,
}

impl Base {
    /// Makes a base of what the run file or an environment variable says.
    ///
    /// # Errors
    /// `invalid_request` if it is no address. The value is not shown: a password may stand in it.
    pub fn given(provider: &Provider, given: &str) -> Result<Self> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidRequest, format!("base_url: {what}"));
        let given = given.trim();
        let (address, query) = given.split_once('?').unwrap_or((given, ""));
        let api_version = query.split('&').find_map(|part| part.strip_prefix("api-version="));
        if !query.is_empty() && (provider.flavor != Flavor::Azure || api_version.is_none()) {
            return Err(wrong("expected an address without a query"));
        }
        let Some(origin) = origin(address) else {
            return Err(wrong(
                "expected `https://host/path` or `http://127.0.0.1:port`, without user or password",
            ));
        };
        let own = provider.is_own(&origin);
        let path = address
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map_or("", |(_, path)| path.trim_matches('/'));
        let path = path_of(provider, path, own);
        Ok(Self {
            url: format!("{origin}{path}"),
            own,
            api_version: api_version.map(str::to_owned),
        })
    }
}

/// The path of a base, with a slash at its beginning and none at its end.
fn path_of(provider: &Provider, path: &str, own: bool) -> String {
    let cut = |mut path: &str, ends: &[&str]| {
        for end in ends {
            path = match path.strip_suffix(end) {
                Some(rest) if rest.is_empty() || rest.ends_with('/') => rest.trim_end_matches('/'),
                _ => path,
            };
        }
        path.to_owned()
    };
    let path = match provider.flavor {
        Flavor::Openai | Flavor::Azure => cut(path, &["chat/completions", "completions"]),
        // Its routes begin with the version.
        Flavor::Anthropic => cut(path, &["messages", "v1"]),
        Flavor::Gemini if path.is_empty() || ends_in_version(path) => path.to_owned(),
        Flavor::Gemini => format!("{path}{}", provider.bare_path),
    };
    let own_path = provider.base_url.as_deref().filter(|_| own).and_then(|base| {
        base.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path)
    });
    match (path.as_str(), own_path) {
        ("", Some(own)) => format!("/{}", own.trim_end_matches('/')),
        ("", None) if own && provider.base_url.is_some() => String::new(),
        ("", None) => provider.bare_path.clone(),
        (path, _) => format!("/{path}"),
    }
}

/// Whether the last segment is a version: `v1`, `v1beta`.
fn ends_in_version(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// `scheme://host[:port]` of a URL, in lower case and without the scheme's own port; none if it is no address of
/// http, or carries a user.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_lowercase();
    let own_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default().to_lowercase();
    let host = host.strip_suffix(own_port).unwrap_or(&host);
    let plain = !host.is_empty() && !host.contains(['@', ' ', '\\']);
    plain.then(|| format!("{scheme}://{host}"))
}

/// Whether an origin is meant by a pattern, whose host may begin with `*.` for any labels.
pub fn is_in(pattern: &str, of: &str) -> bool {
    match pattern.split_once("://*.") {
        None => origin(pattern).as_deref() == Some(of),
        Some((scheme, domain)) => of
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|host| host.strip_suffix(domain))
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty() && !labels.contains('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_bare_origin_gets_the_path_that_its_wire_needs_and_a_path_is_taken_as_it_stands() {
        let table = Table::builtin().unwrap();
        for (provider, given, url, own) in [
            ("openai", "http://127.0.0.1:1", "http://127.0.0.1:1/v1", false),
            ("openai", "http://127.0.0.1:1/", "http://127.0.0.1:1/v1", false),
            ("openai", "http://127.0.0.1:1/openai", "http://127.0.0.1:1/openai", false),
            ("openai", "http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1", false),
            (
                "openai",
                "https://proxy.example/v1/chat/completions",
                "https://proxy.example/v1",
                false,
            ),
            ("openai", "https://proxy.example/v1/completions/", "https://proxy.example/v1", false),
            // A name that only ends like a route is none.
            (
                "openai",
                "https://proxy.example/mycompletions",
                "https://proxy.example/mycompletions",
                false,
            ),
            ("anthropic", "https://proxy.example/api-v1", "https://proxy.example/api-v1", false),
            ("openai", "https://API.openai.com", "https://api.openai.com/v1", true),
            ("openai", "https://api.openai.com:443/v1", "https://api.openai.com/v1", true),
            ("openai_compatible", "http://localhost:8080", "http://localhost:8080/v1", false),
            ("groq", "https://api.groq.com", "https://api.groq.com/openai/v1", true),
            ("groq", "http://127.0.0.1:1", "http://127.0.0.1:1/v1", false),
            ("perplexity", "https://api.perplexity.ai/", "https://api.perplexity.ai", true),
            (
                "zai",
                "https://open.bigmodel.cn/api/paas/v4",
                "https://open.bigmodel.cn/api/paas/v4",
                false,
            ),
            ("moonshot", "https://api.moonshot.cn/v1", "https://api.moonshot.cn/v1", true),
            ("moonshot", "https://api.moonshot.cn", "https://api.moonshot.cn/v1", true),
            (
                "docker_model_runner",
                "http://localhost:12434",
                "http://localhost:12434/engines/llama.cpp",
                false,
            ),
            ("gradient_ai", "https://agent.example", "https://agent.example/api/v1", false),
            ("anthropic", "http://127.0.0.1:1", "http://127.0.0.1:1", false),
            ("anthropic", "http://127.0.0.1:1/anthropic", "http://127.0.0.1:1/anthropic", false),
            (
                "anthropic",
                "https://api.anthropic.com/v1/messages",
                "https://api.anthropic.com",
                true,
            ),
            ("anthropic", "https://proxy.example/claude/v1", "https://proxy.example/claude", false),
            ("gemini", "http://127.0.0.1:1", "http://127.0.0.1:1/v1beta", false),
            ("gemini", "http://127.0.0.1:1/gemini/", "http://127.0.0.1:1/gemini/v1beta", false),
            ("gemini", "http://127.0.0.1:1/gemini/v1", "http://127.0.0.1:1/gemini/v1", false),
            (
                "gemini",
                "https://generativelanguage.googleapis.com",
                "https://generativelanguage.googleapis.com/v1beta",
                true,
            ),
            ("azure", "https://r.openai.azure.com/", "https://r.openai.azure.com", true),
            ("azure", "http://127.0.0.1:1/azure", "http://127.0.0.1:1/azure", false),
            (
                "azure",
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01",
                "https://r.openai.azure.com/openai/deployments/d",
                true,
            ),
        ] {
            let row = Provider::named(&table, provider).unwrap();
            let base = Base::given(&row, given).unwrap();
            assert_eq!((base.url.as_str(), base.own), (url, own), "{provider} {given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        let row = Provider::named(&Table::builtin().unwrap(), "openai").unwrap();
        for given in [
            "",
            "localhost:8080",
            "ftp://a",
            "https://",
            "https://u:secret@a",
            "https://a/?key=secret",
        ] {
            let error = Base::given(&row, given).unwrap_err();
            assert!(error.message.starts_with("base_url:"), "{given}");
            assert!(!error.message.contains("secret"));
        }
    }

    #[test]
    fn an_origin_is_in_a_pattern_or_it_is_not() {
        for (pattern, of, is) in [
            ("https://api.openai.com", "https://api.openai.com", true),
            ("https://api.openai.com", "http://api.openai.com", false),
            ("https://*.openai.azure.com", "https://r.openai.azure.com", true),
            ("https://*.openai.azure.com", "https://openai.azure.com", false),
            ("https://*.openai.azure.com", "https://evilopenai.azure.com", false),
            ("https://*.openai.azure.com", "http://r.openai.azure.com", false),
            ("https://*.openai.azure.com", "https://r.openai.azure.com:8443", false),
        ] {
            assert_eq!(is_in(pattern, of), is, "{pattern} {of}");
        }
    }
}
