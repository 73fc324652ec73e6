//! Where a URL leads: to this machine or away from it, and whether a redirect stays within its origin.

use plugin_api::ErrorKind;
use reqwest::redirect;
use url::{Host, Origin, Url};

use super::client::TransportError;

/// Most redirects followed, all within one origin.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Follows a redirect only within its origin, so that no secret and no prompt goes elsewhere.
pub(super) fn same_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same =
        attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Why a redirect was not followed.
pub(super) fn redirected(url: &Url, target: &str) -> TransportError {
    let next = url.join(target);
    let target = without_user(target);
    if next.as_ref().is_ok_and(|next| next.origin() == url.origin()) {
        let message =
            format!("{} redirects more than {MAX_REDIRECTS} times, last to {target}", url.path());
        return TransportError::new(ErrorKind::UnexpectedReply, message);
    }
    let from = url.origin().ascii_serialization();
    let message = format!(
        "{from} redirects to {target}, another origin, which is not followed; set base_url to where the server is"
    );
    match next {
        Ok(next) => TransportError::astray(&next, message),
        Err(_) => TransportError::new(ErrorKind::ForbiddenOrigin, message),
    }
}

/// Scheme, host and port of a URL; of one that has none its scheme.
pub(super) fn origin_of(url: &Url) -> String {
    match url.origin() {
        origin @ Origin::Tuple(..) => origin.ascii_serialization(),
        Origin::Opaque(_) => format!("{}:", url.scheme()),
    }
}

/// A URL as typed without the user and password that may stand in it.
fn without_user(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let authority = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    match url[start..authority].rfind('@') {
        Some(at) => format!("{}{}", &url[..start], &url[start + at + 1..]),
        None => url.to_owned(),
    }
}

/// Whether a server is asked without the general client: plain http must not leave this machine, and there it needs
/// neither TLS nor a proxy.
pub(super) fn is_lean(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            ("http://me:pw@host:1/a@b", "http://host:1/a@b"),
            ("http://host/a?x=me@home", "http://host/a?x=me@home"),
            ("me:pw@host", "host"),
            ("", ""),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }

    #[test]
    fn a_redirect_within_the_origin_is_not_called_another() {
        let url = Url::parse("http://127.0.0.1:1/a").unwrap();
        assert_eq!(redirected(&url, "/b").kind, ErrorKind::UnexpectedReply);
        // Http to this machine may be asked, but not come to from https, nor the other way round.
        for (url, target, origin) in [
            ("http://127.0.0.1:1/a", "http://127.0.0.1:2/b?key=x", Some("http://127.0.0.1:2")),
            ("https://api.acme.com/a", "http://api.acme.com/a", Some("http://api.acme.com")),
            ("https://api.acme.com/a", "http://127.0.0.1/a", Some("http://127.0.0.1")),
            ("http://localhost/a", "https://localhost/a", Some("https://localhost")),
            ("https://api.acme.com/a", "//other.org/", Some("https://other.org")),
            ("https://api.acme.com/a", "https://me:pw@other.org/", Some("https://other.org")),
            ("https://api.acme.com/a", "file:///etc/passwd", Some("file:")),
            ("https://api.acme.com/a", "https://", None),
        ] {
            let error = redirected(&Url::parse(url).unwrap(), target);
            assert_eq!(error.kind, ErrorKind::ForbiddenOrigin, "{url} {target}");
            assert_eq!(error.stray.as_deref(), origin, "{url} {target}");
        }
    }

    #[test]
    fn this_machine_is_told_by_name_and_by_address() {
        for (url, expected) in [
            ("http://localhost:1", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:3", true),
            ("http://10.0.0.1", false),
            ("https://example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
