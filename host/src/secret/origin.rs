//! Origins (`scheme://host[:port]`) and patterns of them, as manifests and run files write them.
//! Knows nothing of secrets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;
use url::{Host, Url};

/// Where a request goes: scheme, host in lower case and port. Never has a path or credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// An origin, or all origins whose host ends in a name: `https://*.example.com` stands for every host
/// of one or more labels before `.example.com`, not for `example.com` itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginPattern {
    origin: Origin,
    wildcard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheme {
    Http,
    Https,
}

/// Why a text is no origin that the host would send a request to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OriginError {
    /// Not a URL at all.
    #[error("`{0}` is not an origin; write `https://host` or `https://host:port`")]
    NotAnOrigin(String),
    /// Something other than http and https.
    #[error("`{0}` is neither https nor http")]
    Scheme(String),
    /// Plain http to another machine.
    #[error(
        "`{0}` would go unencrypted to another machine; http is for loopback only, write https"
    )]
    Unencrypted(String),
    /// A user or password in the URL.
    #[error("a URL of `{0}` carries a user or a password; declare a secret slot in its place")]
    Credentials(String),
    /// A path where only an origin belongs.
    #[error("`{0}` has a path, a query or a fragment; an origin ends after the port")]
    Path(String),
    /// `*.` before an address, a single label or on plain http.
    #[error(
        "`{0}`: `*.` stands before a domain of at least two labels, as in `https://*.example.com`"
    )]
    Wildcard(String),
}

impl Origin {
    /// The origin of a URL that a request would go to.
    ///
    /// # Errors
    /// If the scheme is not https (http for loopback), or the URL carries credentials. The error names
    /// the host at most, so that a password in the URL stays out of messages.
    pub fn of(url: &Url) -> Result<Self, OriginError> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => return Err(OriginError::Scheme(other.to_owned())),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(OriginError::NotAnOrigin(url.scheme().to_owned()));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OriginError::Credentials(host.to_string()));
        }
        let origin = Self { scheme, host: host.to_string(), port };
        if scheme == Scheme::Http && !is_loopback(&host) {
            return Err(OriginError::Unencrypted(origin.to_string()));
        }
        Ok(origin)
    }
}

impl OriginPattern {
    /// Whether a request to `origin` is meant by this pattern. Scheme and port must be equal.
    pub fn matches(&self, origin: &Origin) -> bool {
        let same_host = if self.wildcard {
            origin
                .host
                .strip_suffix(&self.origin.host)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty())
        } else {
            origin.host == self.origin.host
        };
        same_host && origin.scheme == self.origin.scheme && origin.port == self.origin.port
    }
}

impl From<Origin> for OriginPattern {
    fn from(origin: Origin) -> Self {
        Self { origin, wildcard: false }
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (plain, wildcard) = match text.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (text.to_owned(), false),
        };
        let url = Url::parse(&plain).map_err(|_| OriginError::NotAnOrigin(text.to_owned()))?;
        if wildcard {
            let domain = matches!(url.host(), Some(Host::Domain(name)) if name.trim_matches('.').contains('.'));
            if !domain || url.scheme() != "https" {
                return Err(OriginError::Wildcard(text.to_owned()));
            }
        }
        let origin = Origin::of(&url)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(OriginError::Path(text.to_owned()));
        }
        if origin.host.contains('*') {
            return Err(OriginError::Wildcard(text.to_owned()));
        }
        Ok(Self { origin, wildcard })
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_origin(f, self, "")
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_origin(f, &self.origin, if self.wildcard { "*." } else { "" })
    }
}

impl Serialize for OriginPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, origin: &Origin, prefix: &str) -> fmt::Result {
    let (scheme, default_port) = match origin.scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    write!(f, "{scheme}://{prefix}{}", origin.host)?;
    if origin.port == default_port { Ok(()) } else { write!(f, ":{}", origin.port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_back_or_says_what_is_wrong() {
        let table = [
            ("https://Api.Example.com", "https://api.example.com"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]", "http://[::1]"),
            ("http://localhost:80", "http://localhost"),
            (
                "http://10.0.0.5:8080",
                "`http://10.0.0.5:8080` would go unencrypted to another machine; http is for loopback only, write https",
            ),
            (
                "http://localhost.evil.com",
                "`http://localhost.evil.com` would go unencrypted to another machine; http is for loopback only, write https",
            ),
            (
                "https://me:pw@example.com",
                "a URL of `example.com` carries a user or a password; declare a secret slot in its place",
            ),
            (
                "https://example.com/v1",
                "`https://example.com/v1` has a path, a query or a fragment; an origin ends after the port",
            ),
            (
                "https://*.com",
                "`https://*.com`: `*.` stands before a domain of at least two labels, as in `https://*.example.com`",
            ),
            (
                "https://*.1.2.3.4",
                "`https://*.1.2.3.4`: `*.` stands before a domain of at least two labels, as in `https://*.example.com`",
            ),
            (
                "https://a.*.example.com",
                "`https://a.*.example.com`: `*.` stands before a domain of at least two labels, as in `https://*.example.com`",
            ),
            (
                "example.com",
                "`example.com` is not an origin; write `https://host` or `https://host:port`",
            ),
            ("file:///etc/passwd", "`file` is neither https nor http"),
        ];
        for (text, expected) in table {
            let got =
                text.parse::<OriginPattern>().map_or_else(|e| e.to_string(), |p| p.to_string());
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn a_wildcard_needs_a_label_and_the_same_scheme_and_port() {
        let table = [
            ("https://*.example.com", "https://a.example.com/v1/chat?x=1", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://badexample.com", false),
            ("https://*.example.com", "https://a.example.com:444", false),
            ("https://*.example.com", "https://a.example.com.evil.org", false),
            ("https://api.example.com", "https://API.example.com/", true),
            ("http://127.0.0.1:80", "http://127.0.0.1/", true),
            ("http://127.0.0.1:80", "http://localhost/", false),
        ];
        for (pattern, url, expected) in table {
            let pattern: OriginPattern = pattern.parse().unwrap();
            let origin = Origin::of(&url.parse().unwrap()).unwrap();
            assert_eq!(pattern.matches(&origin), expected, "{pattern} {url}");
        }
    }
}
