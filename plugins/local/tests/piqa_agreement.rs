//! Agreement with llama.cpp on PIQA, against figures written by `tests/fixtures/piqa_reference.py`.
//!
//! The first 50 samples always; all 1,838 with `HOST_TEST_FULL=1 cargo test --release -p local --test piqa_agreement`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers may stop the test, and say why one is skipped"
)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use local::engine::{Engine, Prompt};

struct Reference {
    index: usize,
    log_likelihoods: [f64; 2],
    tokens: [u64; 2],
}

fn references() -> Vec<Reference> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/piqa_llama_cpp.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines =
        text.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|line| Reference {
            index: usize::try_from(line["index"].as_u64().unwrap()).unwrap(),
            log_likelihoods: [0, 1].map(|choice| line["ll"][choice].as_f64().unwrap()),
            tokens: [0, 1].map(|choice| line["tokens"][choice].as_u64().unwrap()),
        })
        .collect()
}

struct Comparison {
    differences: Vec<f64>,
    /// Per sample: our choice and llama.cpp's, by likelihood and by likelihood per character.
    choices: Vec<[usize; 4]>,
}

fn compare(
    engine: &Arc<Engine>,
    samples: &[serde_json::Value],
    references: &[Reference],
) -> Comparison {
    let mut comparison = Comparison { differences: Vec::new(), choices: Vec::new() };
    for reference in references {
        let text = |key: &str| samples[reference.index][key].as_str().unwrap().to_owned();
        let context = format!("Question: {}\nAnswer:", text("goal"));
        let solutions = ["sol1", "sol2"].map(text);
        let continuations = solutions.clone().map(|solution| format!(" {solution}"));
        let scored =
            common::score(engine, Prompt::Text(&context), &[&continuations[0], &continuations[1]])
                .unwrap();
        let counts = [0, 1].map(|choice| scored[choice].tokens.len() as u64);
        assert_eq!(counts, reference.tokens, "token counts of sample {}", reference.index);
        let ours = [0, 1].map(|choice| scored[choice].log_likelihood);
        comparison
            .differences
            .extend([0, 1].map(|choice| ours[choice] - reference.log_likelihoods[choice]));
        let characters = solutions.map(|solution| solution.chars().count() as f64);
        let pick = |scores: [f64; 2]| usize::from(scores[1] > scores[0]);
        let per_character =
            |scores: [f64; 2]| [0, 1].map(|choice| scores[choice] / characters[choice]);
        comparison.choices.push([
            pick(ours),
            pick(per_character(ours)),
            pick(reference.log_likelihoods),
            pick(per_character(reference.log_likelihoods)),
        ]);
    }
    comparison
}

/// The quantile of the differences' magnitudes.
fn magnitude(comparison: &Comparison, quantile: f64) -> f64 {
    let mut magnitudes: Vec<f64> =
        comparison.differences.iter().map(|difference| difference.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    magnitudes[((magnitudes.len() - 1) as f64 * quantile) as usize]
}

fn report(comparison: &Comparison) {
    let [median, ninth, most] = [0.5, 0.9, 1.0].map(|quantile| magnitude(comparison, quantile));
    println!("|difference| in nats: median {median:.6}, 90 % {ninth:.6}, largest {most:.6}");
}

#[test]
fn log_likelihoods_and_metrics_are_llama_cpps() {
    let (Some(engine), Some(samples)) = (common::engine(), common::piqa()) else {
        return;
    };
    let mut references = references();
    if std::env::var_os("HOST_TEST_FULL").is_none() {
        println!("only the first 50 samples; set HOST_TEST_FULL for all");
        references.truncate(50);
    }
    let halves: Vec<Comparison> = std::thread::scope(|scope| {
        let threads: Vec<_> = references
            .chunks(references.len().div_ceil(2))
            .map(|half| scope.spawn(|| compare(&engine, &samples, half)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let comparison = Comparison {
        differences: halves.iter().flat_map(|half| half.differences.clone()).collect(),
        choices: halves.iter().flat_map(|half| half.choices.clone()).collect(),
    };
    report(&comparison);
    assert!(magnitude(&comparison, 0.5) < 0.02);
    let labels = labels();
    let n = comparison.choices.len() as f64;
    let accuracy = [0, 1, 2, 3].map(|which| {
        let hits = comparison
            .choices
            .iter()
            .zip(&labels)
            .filter(|(choice, label)| choice[which] == **label)
            .count();
        hits as f64 / n
    });
    for (metric, ours, theirs) in
        [("acc", accuracy[0], accuracy[2]), ("acc_norm", accuracy[1], accuracy[3])]
    {
        let standard_error = (theirs * (1.0 - theirs) / (n - 1.0)).sqrt();
        println!(
            "{metric}: ours {ours:.4}, llama.cpp {theirs:.4}, standard error {standard_error:.4}"
        );
        assert!((ours - theirs).abs() < standard_error);
    }
}

fn labels() -> Vec<usize> {
    std::fs::read_to_string(common::piqa_file().with_file_name("valid-labels.lst"))
        .unwrap()
        .lines()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}
