//! What may be typed after `host mock`.

use std::{net::IpAddr, time::Duration};

use crate::mock::{Flavor, Rate, Reply, RetryAfterForm, Settings};

/// `host mock`.
#[derive(Debug, clap::Args)]
pub struct MockArgs {
    /// Port to listen at; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Address to listen at. Anyone who reaches it can ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = Settings::default().listen.ip())]
    pub listen: IpAddr,
    /// The wire that is also served without its name before the path.
    #[arg(long, value_name = "NAME", default_value_t = Settings::default().root, help = flavors())]
    pub flavor: Flavor,
    /// Require this key, in the header that each vendor has for it. Better given by the environment variable
    /// MOCK_API_KEY, which other users of this machine do not see.
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,

    /// Wait so long before the answer to each POST; a GET is answered at once.
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Faults")]
    pub latency_ms: u64,
    /// Refuse this share of requests, from 0 to 1: some with 429, some as overloaded (503, or what the vendor has in
    /// its place). Requests are POSTs, and a fault hits one by its number, so that its repetition may succeed.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub fail_rate: Rate,
    /// Let these refusals ask to wait so long: seconds (`2`), or a time with its unit (`250ms`).
    #[arg(long, value_name = "TIME", value_parser = wait, help_heading = "Faults")]
    pub retry_after: Option<Duration>,
    /// How they ask for it: `seconds` and `date` in `retry-after`, rounded up to the next second; `ms` in
    /// `retry-after-ms`.
    #[arg(long, value_name = "FORM", default_value_t, help_heading = "Faults")]
    pub retry_after_as: RetryAfterForm,
    /// Close the connection of this share of requests without an answer.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub drop_rate: Rate,
    /// Break off this share of generations half-way: streams with and without a broken connection, whole bodies
    /// with one.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub truncate_stream_rate: Rate,
    /// Fall silent in this share of requests, and leave the connection open until the client gives up: before the
    /// reply, after its head, or half-way through the body of a generation.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub stall_rate: Rate,
    /// Let this share of requests fail in every way, a twentieth of it each: 429 (4, asking to wait --retry-after, or
    /// 100ms, in all three forms), 500 (3), overloaded or 503 (4), a connection that closes before the reply (2) or
    /// after its head (1), a body or stream that breaks off (3) or a stream that just ends (2), silence (1).
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub fault_mix: Rate,
    /// Answer as a server whose model is loading, for so long after the start: `20s`, `2m`.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        value_parser = humantime::parse_duration,
        help_heading = "Faults"
    )]
    pub loading_for: Duration,
    /// Move which requests are hit by the rates.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Faults")]
    pub fault_seed: u64,
    /// What every generation gets instead of an answer.
    #[arg(long, value_name = "KIND", help_heading = "Faults", help = replies())]
    pub reply: Option<Reply>,
    /// Cut every body into pieces of so many bytes, wherever they fall.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Faults")]
    pub stream_chunk_bytes: Option<u32>,

    /// Work on so many requests at once, and refuse those beyond with 429 or as overloaded. `/mock/stats` tells how many
    /// requests came, how many at once, how fast, and what failed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Capacity")]
    pub max_in_flight: Option<u32>,
    /// Take so many requests a minute, and refuse those beyond with 429 and the time until the next one is taken, in the
    /// form of --retry-after-as. OpenAI's, Azure's, xAI's and Anthropic's wires tell in their headers what is left.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Capacity")]
    pub rpm: Option<u32>,
    /// Let so many of these come at once; those of a second if it is not given.
    #[arg(
        long,
        value_name = "N",
        requires = "rpm",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Capacity"
    )]
    pub rpm_burst: Option<u32>,

    /// Give no log-probabilities of prompts, as a TGI server that was started without
    /// --enable-prefill-logprobs.
    #[arg(long, help_heading = "Wires")]
    pub no_prefill_logprobs: bool,
    /// Stream only what is new, as an SGLang server that was started with --incremental-streaming-output.
    #[arg(long, help_heading = "Wires")]
    pub sglang_incremental: bool,
    /// How long a Hugging Face endpoint takes to start: 5s, 2m.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "200ms",
        value_parser = humantime::parse_duration,
        help_heading = "Wires"
    )]
    pub endpoint_start: Duration,

    /// Let this OpenAI-compatible server answer, whichever wire asks: `http://127.0.0.1:8000/v1`. Its key is read from
    /// MOCK_UPSTREAM_API_KEY. It is sent the prompt or the messages and, as far as the asked wire has them, max_tokens,
    /// stop, temperature, top_p, frequency_penalty, presence_penalty and seed, and nothing else; what is not asked is
    /// left to it, but for the temperature where the wire's server has one of its own (TGI's own routes 0, Ollama 0.8,
    /// SGLang and TGI's OpenAI routes 1). Log-probabilities stay the mock's own.
    #[arg(long, value_name = "URL", help_heading = "A real server behind it")]
    pub upstream: Option<String>,
    /// Model to ask it for; the first that it lists, if not given.
    #[arg(
        long,
        value_name = "NAME",
        requires = "upstream",
        help_heading = "A real server behind it"
    )]
    pub upstream_model: Option<String>,
}

/// Seconds, or a time with its unit.
fn wait(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; expected seconds, or a time such as 250ms")),
    }
}

fn flavors() -> String {
    let names = Flavor::ALL.map(Flavor::name).join(", ");
    format!("Serve this wire also without its name before the path: {names}")
}

fn replies() -> String {
    let names = Reply::ALL.map(Reply::name).join(", ");
    format!("Give every generation this instead of an answer, under the status 200: {names}")
}
