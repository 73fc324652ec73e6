//! What may be typed after `host mock`.

use std::{net::IpAddr, time::Duration};

use crate::mock::{Flavor, Rate, Reply, Settings};

/// `host mock`: a server that speaks the wire of every vendor.
///
/// Each wire is served below its own name: `http://127.0.0.1:PORT/tgi/generate`,
/// `http://127.0.0.1:PORT/openai/v1/chat/completions`. The address is printed on stdout when the server is up; it
/// serves until Ctrl-C. In a run file, `base_url = "mock:tgi"` starts such a server for that run alone.
///
/// Answers and log-probabilities follow from the prompt alone: a letter where it offers lettered options, the result
/// where it asks for a sum, words else. A request that the vendor would refuse is refused in the vendor's words, and a
/// field that the vendor would ignore is refused, too.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct MockArgs {
    /// Port to listen at; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Address to listen at. Anyone who reaches it can ask.
    #[arg(long, value_name = "ADDRESS", default_value_t = Settings::default().listen.ip())]
    pub listen: IpAddr,
    /// Serve this wire without its name before the path, too.
    #[arg(long, value_name = "NAME", default_value_t = Settings::default().root, help = flavors())]
    pub flavor: Flavor,
    /// Want this key, in the header of each vendor. Better given by the environment variable MOCK_API_KEY, which
    /// other users of this machine do not see.
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,

    /// Wait so long before each answer.
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Faults")]
    pub latency_ms: u64,
    /// Refuse this share of requests, from 0 to 1, by turns as too many (429) and as overloaded (503, or what the
    /// vendor has in its place). Every POST counts as a request, and faults hit by its number: a request that is
    /// repeated may succeed.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub fail_rate: Rate,
    /// Send `retry-after` with these refusals.
    #[arg(long, value_name = "SECONDS", help_heading = "Faults")]
    pub retry_after: Option<u64>,
    /// Close the connection of this share of requests without an answer.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub drop_rate: Rate,
    /// End this share of generations half-way. Streams by turns as if they were complete and with the connection,
    /// whole bodies with the connection.
    #[arg(long, value_name = "RATE", default_value = "0", help_heading = "Faults")]
    pub truncate_stream_rate: Rate,
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
    /// Answer every generation with what is none, under the status 200.
    #[arg(long, value_name = "KIND", help_heading = "Faults", help = replies())]
    pub reply: Option<Reply>,
    /// Cut every body into pieces of so many bytes, wherever they fall.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Faults")]
    pub stream_chunk_bytes: Option<u32>,

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
    /// MOCK_UPSTREAM_API_KEY. Log-probabilities stay the mock's own.
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

fn flavors() -> String {
    let names = Flavor::ALL.map(Flavor::name).join(", ");
    format!("Serve this wire without its name before the path, too: {names}")
}

fn replies() -> String {
    let names = Reply::ALL.map(Reply::name).join(", ");
    format!("Answer every generation with what is none, under the status 200: {names}")
}
