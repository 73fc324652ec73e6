//! `host mock`.

use std::{env, net::SocketAddr, pin::pin, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::{args::MockArgs, done::Done, run::asked_to_stop};
use crate::{
    mock::{Capacity, Faults, Flavor, Server, Settings, Upstream},
    printer::Printer,
    run::error::exit,
};

/// The key that every wire wants, unless it is typed.
const API_KEY: &str = "MOCK_API_KEY";
/// The key of the server behind the mock.
const UPSTREAM_API_KEY: &str = "MOCK_UPSTREAM_API_KEY";

/// The first record.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename = "launch")]
pub(super) struct Launch {
    /// Format of these lines.
    format: u32,
    /// Where the wires are, and the one that needs no name.
    url: String,
    /// Each wire's own URL.
    wires: Vec<WireUrl>,
}

/// A wire.
#[derive(Debug, Serialize, JsonSchema)]
struct WireUrl {
    /// Its name.
    flavor: &'static str,
    /// Where it is.
    url: String,
}

/// Serves until it is told to stop.
pub(super) fn main(args: &MockArgs, printer: &Printer) -> Done {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    match serve(settings(args, &variable), printer) {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn serve(settings: Settings, printer: &Printer) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if !settings.listen.ip().is_loopback() && settings.api_key.is_none() {
        printer.warn("other machines can reach this server, and it wants no key");
    }
    let server = Server::start(settings)?;
    let url = server.url();
    let wires =
        Flavor::ALL.map(|flavor| WireUrl { flavor: flavor.name(), url: format!("{url}/{flavor}") });
    runtime.block_on(async {
        let mut stop = pin!(asked_to_stop());
        // It is listened for before anyone can know that there is something to stop.
        if timeout(Duration::ZERO, &mut stop).await.is_err() {
            printer.data(&format!("{url}\n"));
            printer.record(&Launch { format: 1, url, wires: wires.into() });
            stop.await;
        }
    });
    drop(server);
    Ok(())
}

/// What was typed, as it is meant.
fn settings(args: &MockArgs, variable: &dyn Fn(&str) -> Option<String>) -> Settings {
    Settings {
        listen: SocketAddr::new(args.listen, args.port),
        root: args.flavor,
        api_key: args.api_key.clone().or_else(|| variable(API_KEY)),
        faults: Faults {
            latency: Duration::from_millis(args.latency_ms),
            fail_rate: args.fail_rate,
            retry_after: args.retry_after,
            retry_after_form: args.retry_after_as,
            drop_rate: args.drop_rate,
            truncate_stream_rate: args.truncate_stream_rate,
            stall_rate: args.stall_rate,
            mix: args.fault_mix,
            loading_for: args.loading_for,
            seed: args.fault_seed,
        },
        capacity: Capacity {
            max_in_flight: args.max_in_flight,
            rpm: args.rpm,
            rpm_burst: args.rpm_burst,
        },
        reply: args.reply,
        stream_chunk_bytes: args.stream_chunk_bytes.map(|bytes| bytes as usize),
        prefill_logprobs: !args.no_prefill_logprobs,
        sglang_incremental: args.sglang_incremental,
        endpoint_start: args.endpoint_start,
        upstream: args.upstream.clone().map(|url| Upstream {
            url,
            model: args.upstream_model.clone(),
            api_key: variable(UPSTREAM_API_KEY),
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        cli::Args,
        mock::{Reply, RetryAfterForm},
    };

    fn typed(arguments: &str) -> Result<Settings, clap::Error> {
        let all = ["host", "mock"].into_iter().chain(arguments.split_whitespace());
        let crate::cli::args::Command::Mock(args) = Args::try_parse_from(all)?.command else {
            panic!("another command");
        };
        let variable = |name: &str| (name == API_KEY).then(|| "from-env".to_owned());
        Ok(settings(&args, &variable))
    }

    #[test]
    fn what_is_typed_becomes_settings() {
        let all = "--port 8080 --listen 0.0.0.0 --flavor tgi --api-key typed --latency-ms 5 --fail-rate 0.1 \
                   --retry-after 2 --retry-after-as date --drop-rate 0.2 --truncate-stream-rate 1 --stall-rate 0.3 \
                   --fault-mix 0.4 --loading-for 2m --fault-seed 7 --max-in-flight 8 --rpm 600 --rpm-burst 5 \
                   --reply html --stream-chunk-bytes 3 --no-prefill-logprobs --sglang-incremental --endpoint-start 5s \
                   --upstream http://x/v1 --upstream-model m";
        let settings = typed(all).unwrap();
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
        assert_eq!((settings.root, settings.reply), (Flavor::Tgi, Some(Reply::Html)));
        assert_eq!(settings.api_key.as_deref(), Some("typed"));
        let faults = settings.faults;
        assert_eq!(faults.latency, Duration::from_millis(5));
        assert_eq!(faults.loading_for, Duration::from_secs(120));
        let rates = [faults.fail_rate, faults.drop_rate, faults.truncate_stream_rate];
        assert_eq!(rates.map(|rate| rate.get()), [0.1, 0.2, 1.0]);
        assert_eq!([faults.stall_rate, faults.mix].map(|rate| rate.get()), [0.3, 0.4]);
        assert_eq!((faults.retry_after, faults.seed), (Some(Duration::from_secs(2)), 7));
        assert_eq!(faults.retry_after_form, RetryAfterForm::Date);
        let capacity = settings.capacity;
        assert_eq!((capacity.max_in_flight, capacity.rpm), (Some(8), Some(600)));
        assert_eq!(capacity.rpm_burst, Some(5));
        assert_eq!(settings.stream_chunk_bytes, Some(3));
        assert!(!settings.prefill_logprobs && settings.sglang_incremental);
        assert_eq!(settings.endpoint_start, Duration::from_secs(5));
        assert_eq!(settings.upstream.and_then(|upstream| upstream.model).as_deref(), Some("m"));
    }

    #[test]
    fn a_wait_is_seconds_unless_it_has_a_unit() {
        for (text, ms) in [("2", 2000), ("250ms", 250), ("1m", 60_000), ("0", 0)] {
            let faults = typed(&format!("--retry-after {text}")).unwrap().faults;
            assert_eq!(faults.retry_after, Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_typed_is_free_of_faults() {
        let settings = typed("").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:0");
        assert_eq!(settings.api_key.as_deref(), Some("from-env"));
        assert_eq!(settings.faults.fail_rate.get(), 0.0);
        assert!(settings.faults.loading_for.is_zero() && settings.reply.is_none());
        assert!(settings.prefill_logprobs && settings.upstream.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (arguments, expected) in [
            ("--fail-rate 2", "from 0 (never) to 1 (always)"),
            ("--flavor llamafile", "expected one of tgi"),
            ("--reply xml", "expected one of html"),
            ("--loading-for soon", "invalid value"),
            ("--stream-chunk-bytes 0", "invalid value"),
            ("--upstream-model m", "--upstream <URL>"),
            ("--retry-after soon", "expected seconds, or a time such as 250ms"),
            ("--retry-after-as now", "expected one of seconds, date, ms"),
            ("--rpm-burst 3", "--rpm <N>"),
            ("--max-in-flight 0", "invalid value"),
        ] {
            let error = typed(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{arguments}: {error}");
        }
    }
}
