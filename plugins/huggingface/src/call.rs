//! What every request of this plugin carries: the token, and the headers that the run file adds. And what a refusal of
//! Hugging Face's front means, whatever is behind it.

use plugin_api::{Error, ErrorKind, Host, HttpRequest};

/// The slot of the token.
pub const TOKEN: &str = "hf_token";

/// Adds token and headers to requests.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    token: Option<&'static str>,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// A caller that sends these headers, names in lower case, and the token if the host has one.
    pub fn new(host: &Host, headers: Vec<(String, String)>) -> Self {
        Self { token: host.has_secret(TOKEN).then_some(TOKEN), headers }
    }

    /// The request with all that it carries.
    pub fn dress<'a>(&'a self, mut call: HttpRequest<'a>) -> HttpRequest<'a> {
        if let Some(slot) = self.token {
            call = call.bearer(slot);
        }
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call
    }
}

/// Says the way out where Hugging Face refuses a token or an account: 401, 402 and 403.
pub fn with_way_out(mut error: Error) -> Error {
    match error.http_status {
        Some(401) => {
            error.kind = ErrorKind::Unauthorized;
            error.message.push_str(
                "; set HF_TOKEN to a token that may make calls to Inference Providers or endpoints, and if \
                 base_url is not Hugging Face's own, say secrets = [\"hf_token\"] in the backend's table",
            );
        }
        Some(402) => {
            error.kind = ErrorKind::Unauthorized;
            error.message = format!(
                "out of credit: {}; add credit at https://huggingface.co/settings/billing, or name who pays \
                 by `bill_to`",
                error.message
            );
        }
        Some(403) => {
            error.kind = ErrorKind::Unauthorized;
            error.message.push_str("; the token lacks the permission, or the model is gated");
        }
        _ => {}
    }
    error
}

/// The failure of a request to an endpoint: what its proxy answers while no replica is up means that one
/// is being started. wire.md 5.4.
pub fn of_endpoint(mut error: Error, poll_interval_s: u32) -> Error {
    if matches!(error.http_status, Some(502..=504)) {
        error.kind = ErrorKind::Loading;
        error.message = format!("the endpoint has no replica that is ready: {}", error.message);
        error.retry_after_ms = error.retry_after_ms.or(Some(u64::from(poll_interval_s) * 1000));
        return error;
    }
    with_way_out(error)
}

#[cfg(test)]
mod tests {
    use plugin_api::Reply;
    use wire::openai::failure;

    use super::*;

    #[test]
    fn a_refused_account_is_told_the_way_out() {
        for (status, body, says) in [
            (401, r#"{"error":"Invalid username or password."}"#, "HF_TOKEN"),
            (
                402,
                r#"{"error":"You have exceeded your monthly included credits"}"#,
                "out of credit",
            ),
            (402, "", "out of credit"),
            (
                403,
                r#"{"error":"This authentication method does not have sufficient permissions"}"#,
                "permission",
            ),
        ] {
            let error = with_way_out(failure::of(&Reply::new(status, &[], body.as_bytes())));
            assert_eq!(error.kind, ErrorKind::Unauthorized, "{status} {body}");
            assert!(error.message.contains(says), "{error}");
        }
        let other = failure::of(&Reply::new(500, &[], b""));
        assert_eq!(with_way_out(other.clone()), other);
    }

    #[test]
    fn a_proxy_without_a_replica_is_loading_and_says_when_to_come_again() {
        for (status, headers, body, kind, wait) in [
            (502, &[][..], "<html>", ErrorKind::Loading, Some(5000)),
            (503, &[], r#"{"error":"503 Service Unavailable"}"#, ErrorKind::Loading, Some(5000)),
            (504, &[], "", ErrorKind::Loading, Some(5000)),
            (503, &[("retry-after", "20")], "", ErrorKind::Loading, Some(20_000)),
            (500, &[], "", ErrorKind::Overloaded, None),
            (401, &[], "", ErrorKind::Unauthorized, None),
        ] {
            let error = of_endpoint(failure::of(&Reply::new(status, headers, body.as_bytes())), 5);
            assert_eq!((error.kind, error.retry_after_ms), (kind, wait), "{status} {body}");
        }
    }
}
