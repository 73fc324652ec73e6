//! Agreement with llama.cpp on PIQA.
//!
//! `piqa_llama_cpp.jsonl` was written by `piqa_reference.py`. llama.cpp rounds activations to 8 bits before it
//! multiplies them with this file's weights and we do not, so figures differ in the second decimal, by noise.

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
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/piqa_llama_cpp.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
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

fn compare(engine: &Arc<Engine>, samples: &[serde_json::Value], references: &[Reference]) -> Comparison {
    let mut comparison = Comparison { differences: Vec::new(), choices: Vec::new() };
    for reference in references {
        let text = |key: &str| samples[reference.index][key].as_str().unwrap().to_owned();
        let context = format!("Question: {}\nAnswer:", text("goal"));
        let solutions = ["sol1", "sol2"].map(text);
        let continuations = solutions.clone().map(|solution| format!(" {solution}"));
        let scored =
            common::score(engine, Prompt::Text(&context), &[&continuations[0], &continuations[1]]).unwrap();
        let counts = [0, 1].map(|choice| scored[choice].tokens.len() as u64);
        assert_eq!(counts, reference.tokens, "token counts of sample {}", reference.index);
        let ours = [0, 1].map(|choice| scored[choice].log_likelihood);
        comparison.differences.extend([0, 1].map(|choice| ours[choice] - reference.log_likelihoods[choice]));
        let characters = solutions.map(|solution| solution.chars().count() as f64);
        let pick = |scores: [f64; 2]| usize::from(scores[1] > scores[0]);
        let per_character = |scores: [f64; 2]| [0, 1].map(|choice| scores[choice] / characters[choice]);
        comparison.choices.push([
            pick(ours),
            pick(per_character(ours)),
            pick(reference.log_likelihoods),
            pick(per_character(reference.log_likelihoods)),
        ]);
    }
    comparison
}

fn median_magnitude(differences: &[f64]) -> f64 {
    let mut magnitudes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    magnitudes[magnitudes.len() / 2]
}

fn report(comparison: &Comparison) {
    let mut magnitudes: Vec<f64> = comparison.differences.iter().map(|d| d.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    let at = |quantile: f64| magnitudes[((magnitudes.len() - 1) as f64 * quantile) as usize];
    let mean: f64 = comparison.differences.iter().sum::<f64>() / magnitudes.len() as f64;
    println!(
        "|difference| median {:.4}, 90 % {:.4}, 99 % {:.4}, largest {:.4}; signed mean {mean:.4}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

#[test]
fn a_tenth_of_piqa_agrees_with_llama_cpp() {
    let (Some(engine), Some(samples)) = (common::engine(), common::piqa()) else { return };
    let references: Vec<Reference> = references().into_iter().step_by(40).collect();
    let comparison = compare(&engine, &samples, &references);
    report(&comparison);
}

#[test]
#[ignore = "takes minutes; run with --release"]
fn all_of_piqa_agrees_with_llama_cpp() {
    let (Some(engine), Some(samples)) = (common::engine(), common::piqa()) else { return };
    let references = references();
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
    let labels = labels();
    let n = comparison.choices.len() as f64;
    let accuracy = [0, 1, 2, 3].map(|which| {
        let hits = comparison.choices.iter().zip(&labels).filter(|(choice, label)| choice[which] == **label).count();
        hits as f64 / n
    });
    println!("acc {:.4} (llama.cpp {:.4}), acc_norm {:.4} (llama.cpp {:.4})", accuracy[0], accuracy[2], accuracy[1], accuracy[3]);
}

fn labels() -> Vec<usize> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/piqa/valid.jsonl");
    let path = std::env::var_os("HOST_TEST_PIQA").map_or(beside, PathBuf::from).with_file_name("valid-labels.lst");
    std::fs::read_to_string(path).unwrap().lines().map(|line| line.trim().parse().unwrap()).collect()
}
