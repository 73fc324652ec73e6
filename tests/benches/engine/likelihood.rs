//! What it gains to score a sample's continuations by one request: the same run with and without, in turns.

use super::{Settings, child, pairs::Middle, server::Mock, work::Work};

/// Prints the ratios.
pub(crate) fn measure(settings: &Settings, work: &Work) {
    println!(
        "\n| four continuations a sample, mock of vLLM | samples/s, one request | a request each | ratio | CPU ratio |"
    );
    println!("|---|---|---|---|---|");
    for latency in ["0", "50"] {
        let mock = Mock::start(&["--latency-ms", latency]);
        let samples = if latency == "0" { settings.samples / 10 } else { 1_000 };
        let run = |batch: bool| {
            let backend = format!(
                "[[backend]]\nplugin = \"litellm\"\nmodel = \"hosted_vllm/m\"\nbase_url = \"{}/vllm/v1\"\n\
                 config = {{ mode = \"completions\", loglikelihood_batch = {batch} }}\n",
                mock.address()
            );
            let run = work.run_of("choices", &backend, samples, 32);
            child::measure(&mut run.command(), false)
        };
        let pairs: Vec<_> = (0..settings.pairs).map(|_| (run(true), run(false))).collect();
        let rate = |seconds: f64| samples as f64 / seconds;
        let of = |figure: &dyn Fn(&(child::Spent, child::Spent)) -> f64| {
            Middle::of(pairs.iter().map(figure))
        };
        println!(
            "| {latency} ms latency, 32 at once | {:.0} | {:.0} | {:.2} | {:.2} |",
            of(&|(at_once, _)| rate(at_once.seconds)).median,
            of(&|(_, singly)| rate(singly.seconds)).median,
            of(&|(at_once, singly)| singly.seconds / at_once.seconds),
            of(&|(at_once, singly)| at_once.cpu_seconds / singly.cpu_seconds),
        );
    }
}
