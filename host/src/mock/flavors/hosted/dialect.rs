//! Who speaks the OpenAI shape, and how each of them says no.

use serde::Serialize;
use serde_json::json;

use super::Refusal;
use crate::mock::exchange::{Answer, Trouble};

/// A vendor with the OpenAI shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI.
    OpenAi,
    /// vLLM's server: the flavor `vllm`, and under the flavor `openai` models whose names begin with `vllm-`.
    Vllm,
    /// Azure OpenAI.
    Azure,
    /// xAI.
    Xai,
    /// Moonshot.
    Moonshot,
    /// Hugging Face's router.
    HuggingFace,
}

#[derive(Serialize)]
struct Body<'a, C> {
    error: Inner<'a, C>,
}

#[derive(Serialize)]
struct Inner<'a, C> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: C,
}

impl Dialect {
    /// The dialect in which a model is served.
    pub(crate) fn of_model(self, model: &str) -> Self {
        if self == Self::OpenAi && model.starts_with("vllm-") { Self::Vllm } else { self }
    }

    /// Most tokens of a prompt and its answer.
    pub(crate) const fn context(self) -> usize {
        match self {
            Self::Vllm => 32_768,
            _ => 131_072,
        }
    }

    /// A refusal in the vendor's words.
    pub(crate) fn refuse(self, refusal: &Refusal) -> Answer {
        let Refusal { status, kind, message, param, code } = refusal;
        let param = param.as_deref();
        match self {
            Self::OpenAi | Self::Azure | Self::HuggingFace => {
                Answer::json(*status, &Body { error: Inner { message, r#type: kind, param, code } })
            }
            Self::Vllm => {
                let kind = match status {
                    404 => "NotFoundError",
                    500.. => "InternalServerError",
                    _ => "BadRequestError",
                };
                let error = Inner { message, r#type: kind, param, code: status };
                Answer::json(*status, &Body { error })
            }
            Self::Xai => {
                let code = match status {
                    403 => "The caller does not have permission to execute the specified operation",
                    404 => "Some requested entity was not found",
                    429 => "Some resource has been exhausted",
                    500.. => "The service is currently unavailable",
                    _ if *code == Some("unsupported_parameter") => "invalid-argument",
                    _ => "Client specified an invalid argument",
                };
                Answer::json(*status, &json!({ "code": code, "error": message }))
            }
            Self::Moonshot => {
                Answer::json(*status, &json!({ "error": { "message": message, "type": kind } }))
            }
        }
    }

    /// What is said of a prompt that a filter refuses outright; none where the model itself refuses, in its answer.
    pub(crate) fn refuse_filtered(self, chat: bool) -> Option<Answer> {
        match self {
            Self::OpenAi | Self::Vllm | Self::HuggingFace => None,
            Self::Azure => {
                let param = if chat { "messages" } else { "prompt" };
                Some(Answer::json(
                    400,
                    &json!({ "error": {
                        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. \
                                    Please modify your prompt and retry.",
                        "type": null,
                        "param": param,
                        "code": "content_filter",
                        "status": 400,
                        "innererror": {
                            "code": "ResponsibleAIPolicyViolation",
                            "content_filter_result": {
                                "hate": { "filtered": false, "severity": "safe" },
                                "jailbreak": { "filtered": false, "detected": false },
                                "self_harm": { "filtered": false, "severity": "safe" },
                                "sexual": { "filtered": false, "severity": "safe" },
                                "violence": { "filtered": true, "severity": "medium" },
                            },
                        },
                    }}),
                ))
            }
            Self::Xai => Some(self.refuse(&Refusal {
                status: 403,
                ..Refusal::new("Content violates usage guidelines.")
            })),
            Self::Moonshot => Some(self.refuse(&Refusal {
                kind: "content_filter",
                ..Refusal::new("The request was rejected because it was considered high risk")
            })),
        }
    }
}

/// What a vendor says when it does not come to look at the request.
pub(crate) fn trouble(dialect: Dialect, trouble: &Trouble) -> Answer {
    let refusal = |status, kind, message: &str, code| {
        dialect.refuse(&Refusal { status, kind, code, ..Refusal::new(message) })
    };
    let coded = |status: u16, message: &str| {
        Answer::json(
            status,
            &json!({ "error": { "code": status.to_string(), "message": message } }),
        )
    };
    let plain = |status, message: &str| Answer::json(status, &json!({ "error": message }));
    match (trouble, dialect) {
        (Trouble::BadKey, Dialect::OpenAi) => refusal(
            401,
            "invalid_request_error",
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
            Some("invalid_api_key"),
        ),
        (Trouble::BadKey, Dialect::Vllm) => plain(401, "Unauthorized"),
        (Trouble::BadKey, Dialect::Azure) => coded(
            401,
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for \
             an active subscription and use a correct regional API endpoint for your resource.",
        ),
        // A bad key is a bad argument here.
        (Trouble::BadKey, Dialect::Xai) => refusal(
            400,
            "",
            "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
            None,
        ),
        (Trouble::BadKey, Dialect::Moonshot) => {
            refusal(401, "invalid_authentication_error", "Invalid Authentication", None)
        }
        (Trouble::BadKey, Dialect::HuggingFace) => plain(401, "Invalid username or password."),
        (Trouble::RateLimited, Dialect::Azure) => coded(
            429,
            "Requests to the ChatCompletions_Create Operation have exceeded call rate limit of your current pricing tier.",
        ),
        (Trouble::RateLimited, Dialect::Moonshot) => refusal(
            429,
            "rate_limit_reached_error",
            "Your account request reached max request per minute, please try again later",
            None,
        ),
        (Trouble::RateLimited, Dialect::HuggingFace) => plain(429, "Rate limit reached."),
        (Trouble::RateLimited, _) => refusal(
            429,
            "requests",
            "Rate limit reached for requests. Please try again later.",
            Some("rate_limit_exceeded"),
        ),
        (Trouble::Overloaded, Dialect::Azure) => coded(
            503,
            "The service is temporarily unable to process your request. Please try again later.",
        ),
        (Trouble::Overloaded, Dialect::Moonshot) => refusal(
            429,
            "engine_overloaded_error",
            "The engine is currently overloaded, please try again later",
            None,
        ),
        (Trouble::Overloaded, Dialect::HuggingFace) => plain(503, "Service Unavailable"),
        (Trouble::Overloaded, _) => refusal(
            503,
            "server_error",
            "The server is currently overloaded with other requests. Sorry about that! You can retry your request.",
            None,
        ),
        (Trouble::Loading { .. }, Dialect::Azure) => coded(503, "The deployment is not ready yet."),
        (Trouble::Loading { .. }, _) => refusal(
            503,
            "server_error",
            "The model is not ready yet. Please try again later.",
            None,
        ),
        (Trouble::Upstream { status, message }, _) => {
            refusal(*status, "server_error", message, None)
        }
    }
}
