//! What it means if the server takes no conversation for its template. Pure.

use plugin_api::{Error, ErrorKind};

/// The failure to tokenise messages. Servers before `/v1/tokenize` took them lack the route, or miss its `prompt`.
pub fn refused(error: Error) -> Error {
    let lacks_route = matches!(error.http_status, Some(404 | 405));
    let misses_prompt = error.message.contains("prompt") && error.message.contains("required");
    if error.kind != ErrorKind::InvalidRequest || !(lacks_route || misses_prompt) {
        return error;
    }
    Error {
        kind: ErrorKind::Unsupported,
        message: format!(
            "the server's /v1/tokenize takes no chat messages, as a newer SGLang does (0.5.23, say): use plain \
             text, or the server's OpenAI-style routes by the `litellm` plugin; it said: {}",
            error.message
        ),
        ..error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_told_from_a_template_that_refuses() {
        let error = |status: u16, message: &str| Error {
            http_status: Some(status),
            ..Error::new(ErrorKind::InvalidRequest, message)
        };
        for (status, message, kind) in [
            (404, "Not Found", ErrorKind::Unsupported),
            (400, "[{'loc': ('body', 'prompt'), 'msg': 'Field required'}]", ErrorKind::Unsupported),
            (400, "Conversation roles must alternate", ErrorKind::InvalidRequest),
        ] {
            assert_eq!(refused(error(status, message)).kind, kind, "{message}");
        }
        let overloaded = Error::new(ErrorKind::Overloaded, "prompt required");
        assert_eq!(refused(overloaded).kind, ErrorKind::Overloaded);
    }
}
