//! A comparison in words, at every width.

use super::*;
use crate::{
    report::comparison::{
        flip::FlipText,
        row::{Flip, SideValue, Test},
    },
    score::metric::Metric,
    stats::{interval::Interval, paired::Paired},
};

fn unit() -> UnitComparison {
    let side = |directory: &str| Side {
        number: 0,
        directory: directory.to_owned(),
        run: "r".to_owned(),
        backend: "backend".to_owned(),
        model: Some("organisation/a-model-with-a-long-name-of-its-own".to_owned()),
    };
    let value = |value| SideValue { value, interval: None };
    let row = Row {
        metric: Metric::AccNorm,
        samples: 1838,
        baseline: value(0.64),
        candidate: value(0.643_26),
        difference: Paired {
            count: 1838,
            clusters: None,
            mean: 0.003_26,
            stderr: Some(0.005),
            interval: Some(Interval { low: -0.006_5, high: 0.013 }),
            replicates: 10_000,
        },
        test: Test::McnemarExact,
        p_value: Some(0.56),
        adjusted_p_value: Some(1.0),
        minimal_detectable_effect: Some(0.014),
        verdict: Verdict::NoDifferenceShown,
        flips: vec![Flip { index: 0, baseline_line: 0, candidate_line: 0, gained: true }],
    };
    UnitComparison {
        task: "piqa".to_owned(),
        baseline: side("runs/first-20260102-030405"),
        candidate: side("runs/日本語-20260102-030405"),
        samples: SampleCounts { unscored_by_candidate: 3, changed: 1, ..Default::default() },
        rows: vec![row],
        differences: Vec::new(),
    }
}

fn shown() -> ShownFlips {
    let text = FlipText {
        sample: "validation-17".to_owned(),
        target: "B. put it\ninto the oven \u{1b}[31m".to_owned(),
        baseline: "A. ".to_owned() + &"x".repeat(100),
        candidate: String::new(),
    };
    ShownFlips { task: "piqa".to_owned(), metric: "acc_norm", count: 1, shown: vec![(true, text)] }
}

fn all(width: Option<u16>) -> String {
    let unit = unit();
    [
        heading(&unit.baseline, &unit.candidate, width),
        rows(&[&unit], width),
        counts(&unit, width),
        flips(&shown(), width),
    ]
    .concat()
}

#[test]
fn every_line_fits_every_terminal() {
    for width in 8..200 {
        let text = all(Some(width));
        let wide = text.lines().find(|line| line.width() > usize::from(width));
        assert_eq!(wide, None, "{width} columns");
    }
}

#[test]
fn where_there_is_little_room_a_row_is_a_block() {
    let expected = "\
baseline: runs/first-20260102-030405 @
  backend,
  organisation/a-model-with-a-long-name-
  of-its-own
candidate: runs/日本語-20260102-030405 @
  backend,
  organisation/a-model-with-a-long-name-
  of-its-own
piqa acc_norm
  samples    1838
  baseline   0.6400
  candidate  0.6433
  difference +0.0033 [-0.0065, +0.0130]
  p (Holm)   0.5600 (1.0000)
  gained     1
  lost       0
  verdict no difference shown (could
    have seen ±0.0140)
piqa: samples that are not compared: 3
  unscored by the candidate, 1 with
  another record

piqa acc_norm: 1 sample flipped
  validation-17: now right
    target B. put it into the oven [31m
    baseline A.
      xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      xxxxxxxxxxx…
    candidate (empty)
";
    assert_eq!(all(Some(40)), expected);
    let wide = all(None);
    assert!(wide.contains("no difference shown (could have seen ±0.0140)"), "{wide}");
    assert!(wide.contains(" B. put it into the oven [31m "), "{wide}");
    assert!(!wide.contains('\x1b') && wide.contains('…'), "{wide}");
}

#[test]
fn words_are_broken_where_they_do_not_fit() {
    for (line, width, expected) in [
        ("a b", None, "a b\n"),
        ("aaaa bbbb cccc", Some(9), "aaaa bbbb\n  cccc\n"),
        ("  aaaa bbbb", Some(8), "  aaaa\n    bbbb\n"),
        ("aaaaaaaaaaaa", Some(8), "aaaaaaaa\n  aaaa\n"),
        ("日本語日本語", Some(8), "日本語日\n  本語\n"),
    ] {
        assert_eq!(wrapped(line, width), expected, "{line} in {width:?}");
    }
}

#[test]
fn numbers_say_no_more_than_they_mean() {
    assert_eq!([signed(0.1), signed(-0.000_01), signed(-0.5)], ["+0.1000", "+0.0000", "-0.5000"]);
    assert_eq!([probability(0.000_01), probability(0.05)], ["< 0.0001", "0.0500"]);
}
