//! What a mock does: which faults, whose answers, at which address.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use super::{Flavor, Reply, RetryAfterForm};

/// How a mock behaves. The default is free of faults, on a free port of the loopback address.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Which flavor is served without a prefix, too.
    pub root: Flavor,
    /// The key that every flavor wants in its vendor's header.
    pub api_key: Option<String>,
    /// What goes wrong.
    pub faults: Faults,
    /// How much it can take.
    pub capacity: Capacity,
    /// What every generation answers instead of an answer.
    pub reply: Option<Reply>,
    /// Cuts every body into pieces of this many bytes, wherever they fall.
    pub stream_chunk_bytes: Option<usize>,
    /// Whether TGI gives the prompt's log-probabilities (`--enable-prefill-logprobs`).
    pub prefill_logprobs: bool,
    /// Whether SGLang's streams hold what is new instead of all so far (`--incremental-streaming-output`).
    pub sglang_incremental: bool,
    /// How long a Hugging Face endpoint takes to start.
    pub endpoint_start: Duration,
    /// A real server that answers in the model's place.
    pub upstream: Option<Upstream>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            root: Flavor::OpenAi,
            api_key: None,
            faults: Faults::default(),
            capacity: Capacity::default(),
            reply: None,
            stream_chunk_bytes: None,
            prefill_logprobs: true,
            sglang_incremental: false,
            endpoint_start: Duration::from_millis(200),
            upstream: None,
        }
    }
}

/// An OpenAI-compatible server.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its base, to which `/chat/completions` is appended.
    pub url: String,
    /// The model to ask it for; else the first that it lists.
    pub model: Option<String>,
    /// A key for it.
    pub api_key: Option<String>,
}

/// What goes wrong. A fault hits a request by its number, not by what it asks, so that a retry may succeed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Time before every answer.
    pub latency: Duration,
    /// Share of requests that are refused with 429 or 503.
    pub fail_rate: Rate,
    /// How long those refusals ask to wait.
    pub retry_after: Option<Duration>,
    /// In which form they ask.
    pub retry_after_form: RetryAfterForm,
    /// Share of requests whose connection is closed without an answer.
    pub drop_rate: Rate,
    /// Share of generations whose body ends before its time.
    pub truncate_stream_rate: Rate,
    /// Share of requests that are not answered, or not to the end, on a connection that stays open.
    pub stall_rate: Rate,
    /// Share of requests that fail in one of these ways, or with 500.
    pub mix: Rate,
    /// For how long after the start the model is loading.
    pub loading_for: Duration,
    /// Moves which requests are hit.
    pub seed: u64,
}

/// How much a simulated server can take. The default is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    /// Requests that are worked on at once; those beyond are refused with 429 or 503.
    pub max_in_flight: Option<u32>,
    /// Requests a minute; those beyond are refused with 429 and told when to come again.
    pub rpm: Option<u32>,
    /// Requests of a minute that may come at once; those of a second if it is not said.
    pub rpm_burst: Option<u32>,
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate(f64);

/// What is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate; expected a number from 0 (never) to 1 (always)")]
pub struct RateError(String);

impl Rate {
    /// Never.
    pub const NEVER: Self = Self(0.0);

    /// The share as a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        match text.parse() {
            Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(Self(rate)),
            _ => Err(RateError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_from_0_to_1() {
        for (text, rate) in [("0", 0.0), ("0.25", 0.25), ("1", 1.0)] {
            assert_eq!(text.parse::<Rate>().map(Rate::get), Ok(rate));
        }
        for text in ["-0.1", "1.1", "NaN", "half", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
