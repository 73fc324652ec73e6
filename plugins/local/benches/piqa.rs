//! Seconds and tokens a second for scoring PIQA, one session and then two at once.
//!
//! Reads the data set beside the checkout if it is there, and the model that the tests use. Not a statistic, but
//! enough to see what a change to the forward pass costs. `PIQA_SAMPLES` sets the number of samples (150).
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints, and may stop anywhere"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local::engine::{Engine, Prompt};
use local::score::Scoring;

fn main() {
    let Some(model) = model_file() else { return };
    let data =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/piqa/valid.jsonl");
    let data = std::env::var_os("HOST_TEST_PIQA").map_or(data, PathBuf::from);
    let Ok(lines) = std::fs::read_to_string(&data) else {
        println!("skipped: no {}", data.display());
        return;
    };
    let count = std::env::var("PIQA_SAMPLES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let samples: Vec<serde_json::Value> =
        lines.lines().take(count).map(|line| serde_json::from_str(line).unwrap()).collect();

    let started = Instant::now();
    let engine = Arc::new(Engine::load(&model).unwrap());
    println!("load: {:.2} s", started.elapsed().as_secs_f64());
    for sessions in [1, 2] {
        let started = Instant::now();
        let part = samples.len().div_ceil(sessions);
        let threads: Vec<_> = samples
            .chunks(part)
            .map(|part| {
                let (engine, part) = (Arc::clone(&engine), part.to_vec());
                std::thread::spawn(move || {
                    part.iter().map(|sample| score(&engine, sample)).fold((0, 0), add)
                })
            })
            .collect();
        let (tokens, longest_ms) =
            threads.into_iter().map(|thread| thread.join().unwrap()).fold((0, 0), add);
        let seconds = started.elapsed().as_secs_f64();
        let rate = tokens as f64 / seconds;
        println!(
            "{sessions} session(s), {count} samples: {seconds:.2} s, {rate:.0} tokens/s, longest step {longest_ms} ms"
        );
    }
}

fn add(left: (usize, u128), right: (usize, u128)) -> (usize, u128) {
    (left.0 + right.0, left.1.max(right.1))
}

fn score(engine: &Arc<Engine>, sample: &serde_json::Value) -> (usize, u128) {
    let text = |key: &str| sample[key].as_str().unwrap().to_owned();
    let context = format!("Question: {}\nAnswer:", text("goal"));
    let endings = [format!(" {}", text("sol1")), format!(" {}", text("sol2"))];
    let mut scoring =
        Scoring::new(engine, Prompt::Text(&context), &[&endings[0], &endings[1]]).unwrap();
    let (context_tokens, continuation_tokens) = scoring.token_counts();
    let mut longest_ms = 0;
    loop {
        let started = Instant::now();
        let polled = scoring.step(Duration::from_millis(50)).unwrap();
        longest_ms = longest_ms.max(started.elapsed().as_millis());
        if polled.is_ready() {
            return (context_tokens + continuation_tokens, longest_ms);
        }
    }
}

fn model_file() -> Option<PathBuf> {
    let path = std::env::var_os("HOST_TEST_MODEL").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cache/host/assets/SmolLM2-135M-Instruct.Q4_1.gguf"))
    })?;
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no model file {}", path.display());
    None
}
