//! The mean of the differences between two sides on the same samples, and how far it is to be trusted.
//!
//! The interval is a percentile bootstrap: samples (or clusters of them) are drawn again with replacement, as many as
//! there are, and the middle 95 % of the means of such draws are kept. Differences of right-or-wrong samples are -1, 0
//! or 1, and how often each of a few values is drawn is a multinomial draw; so where values repeat, the counts are
//! drawn instead of the samples. That is the same distribution, and takes a time that hardly grows with the samples.
//!
//! The same numbers give the same interval, in whatever order they come.

use super::{
    binomial, clustered,
    exact::{ExactError, ExactMoments, ExactSum},
    interval::Interval,
    moments::estimate,
    python_random::PythonRandom,
};

/// Replicates of an interval.
pub const REPLICATES: u32 = 10_000;
/// Fewer are made where all values differ, so that no more than this many numbers are drawn ...
const MOST_DRAWS: usize = 100_000_000;
/// ... but never fewer than this.
const LEAST_REPLICATES: u32 = 1_000;
/// A count costs about as much to draw as so many single numbers.
const COST_OF_COUNT: usize = 64;
/// Seed of the replicates.
const SEED: u64 = 1234;

/// A mean difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// How many samples.
    pub count: u64,
    /// How many clusters they are in, where they are in any.
    pub clusters: Option<u64>,
    /// The mean.
    pub mean: f64,
    /// Its standard error, by clusters where there are any; none of fewer than two.
    pub stderr: Option<f64>,
    /// The bootstrap interval at 95 %; none of fewer than two.
    pub interval: Option<Interval>,
    /// Replicates that the interval is of.
    pub replicates: u32,
}

/// What is drawn as one: a sample, or a cluster of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    sum: f64,
    size: f64,
}

/// The mean of independent differences; none of no differences.
///
/// # Errors
/// One of them is not finite or out of range.
pub fn of_samples(differences: &[f64]) -> Result<Option<Paired>, ExactError> {
    let mut moments = ExactMoments::default();
    for difference in differences {
        moments.add(*difference)?;
    }
    let Some(estimate) = estimate(&moments) else { return Ok(None) };
    let blocks = differences.iter().map(|difference| Block { sum: *difference, size: 1.0 });
    let (interval, replicates) = bootstrap(blocks.collect());
    let (count, mean, stderr) = (estimate.count, estimate.mean, estimate.stderr);
    Ok(Some(Paired { count, clusters: None, mean, stderr, interval, replicates }))
}

/// The mean of differences, each with the key of its cluster; none of no differences.
///
/// # Errors
/// One of them is not finite or out of range.
pub fn of_clusters(differences: &mut [(u64, f64)]) -> Result<Option<Paired>, ExactError> {
    differences.sort_unstable_by_key(|(cluster, _)| *cluster);
    let (mut total, mut clusters) = (ExactSum::default(), Vec::new());
    for cluster in differences.chunk_by(|(a, _), (b, _)| a == b) {
        let mut sum = ExactSum::default();
        for (_, difference) in cluster {
            sum.add(*difference)?;
            total.add(*difference)?;
        }
        clusters.push(sum);
    }
    if clusters.is_empty() {
        return Ok(None);
    }
    let blocks = clusters.iter().map(|sum| Block { sum: sum.value(), size: sum.count() as f64 });
    let (interval, replicates) = bootstrap(blocks.collect());
    Ok(Some(Paired {
        count: total.count(),
        clusters: Some(clusters.len() as u64),
        mean: total.value() / total.count() as f64,
        stderr: clustered::stderr(&clusters, &total),
        interval,
        replicates,
    }))
}

/// The interval, and of how many replicates it is.
fn bootstrap(mut blocks: Vec<Block>) -> (Option<Interval>, u32) {
    if blocks.len() < 2 {
        return (None, 0);
    }
    let in_order = |a: &Block, b: &Block| a.sum.total_cmp(&b.sum).then(a.size.total_cmp(&b.size));
    blocks.sort_unstable_by(in_order);
    let mut values: Vec<(Block, u64)> = Vec::new();
    for same in blocks.chunk_by(|a, b| a == b) {
        values.extend(same.first().map(|block| (*block, same.len() as u64)));
    }
    let mut random = PythonRandom::new(SEED);
    let (mut means, replicates): (Vec<f64>, u32) = if values.len() * COST_OF_COUNT < blocks.len() {
        let draw = |_| mean_of_counts(&values, blocks.len() as u64, &mut random);
        ((0..REPLICATES).map(draw).collect(), REPLICATES)
    } else {
        let fit = u32::try_from(MOST_DRAWS / blocks.len()).unwrap_or(u32::MAX);
        let replicates = fit.clamp(LEAST_REPLICATES, REPLICATES);
        let draw = |_| mean_of_draws(&blocks, &mut random);
        ((0..replicates).map(draw).collect(), replicates)
    };
    means.sort_unstable_by(f64::total_cmp);
    let bounds = quantile(&means, 0.025).zip(quantile(&means, 0.975));
    (bounds.map(|(low, high)| Interval { low, high }), replicates)
}

/// The mean of as many blocks as there are, drawn one by one.
fn mean_of_draws(blocks: &[Block], random: &mut PythonRandom) -> f64 {
    let (mut sum, mut size) = (0.0, 0.0);
    for _ in 0..blocks.len() {
        if let Some(block) = blocks.get(random.choice(blocks.len())) {
            sum += block.sum;
            size += block.size;
        }
    }
    sum / size
}

/// The same, where only how often each value is drawn is drawn: one binomial draw a value, of what is left.
fn mean_of_counts(values: &[(Block, u64)], blocks: u64, random: &mut PythonRandom) -> f64 {
    let (mut sum, mut size) = (0.0, 0.0);
    let (mut draws, mut others) = (blocks, blocks);
    for (block, count) in values {
        let drawn = binomial::draw(draws, *count as f64 / others as f64, random);
        sum += block.sum * drawn as f64;
        size += block.size * drawn as f64;
        draws -= drawn;
        others -= count;
    }
    sum / size
}

/// A quantile of sorted numbers, between two of them in proportion (NumPy's default).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * (sorted.len().checked_sub(1)?) as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    let index = at as usize;
    let low = *sorted.get(index)?;
    let high = sorted.get(index + 1).copied().unwrap_or(low);
    Some(low + (high - low) * (at - index as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Interval>, low: f64, high: f64, within: f64) {
        let found = found.unwrap();
        let off = (found.low - low).abs().max((found.high - high).abs());
        assert!(off <= within, "{found:?} is not {low} to {high}");
    }

    /// So many samples that were gained, lost and neither.
    fn flips(gained: usize, lost: usize, same: usize) -> Vec<f64> {
        [vec![1.0; gained], vec![-1.0; lost], vec![0.0; same]].concat()
    }

    /// 90 clusters of one to four differences.
    fn clusters() -> Vec<(u64, f64)> {
        let value = |c: u64, k: u64| match (c * 7 + k * c, c * 7 + k) {
            (a, _) if a % 3 == 0 => 1.0,
            (_, b) if b % 5 == 0 => -1.0,
            _ => 0.0,
        };
        (0..90).flat_map(|c| (0..=c % 4).map(move |k| (c, value(c, k)))).collect()
    }

    #[test]
    fn intervals_are_near_those_of_scipy() {
        // scipy.stats.bootstrap((x,), np.mean, n_resamples=200000, method="percentile",
        // rng=np.random.default_rng(0)).confidence_interval, SciPy 1.17.1; other draws, so it is near and not equal.
        let counted = of_samples(&flips(30, 12, 158)).unwrap().unwrap();
        assert_eq!((counted.mean, counted.replicates), (0.09, REPLICATES));
        near(counted.interval, 0.03, 0.155, 0.0051);
        let all_differ: Vec<f64> =
            (0..100).map(|i| f64::from(i * 37 % 101) / 101.0 - 0.4).collect();
        let drawn = of_samples(&all_differ).unwrap().unwrap();
        assert!((drawn.mean - 0.093_663_366_336_633_66).abs() < 1e-15);
        assert!((drawn.stderr.unwrap() - 0.029_122_582_517_373_836).abs() < 1e-15);
        near(drawn.interval, 0.037_128_712_871_287_106, 0.150_198_019_801_980_22, 0.002);
        // The same call with (sums, sizes), paired=True and the statistic sums.sum() / sizes.sum().
        let clustered = of_clusters(&mut clusters()).unwrap().unwrap();
        assert_eq!((clustered.count, clustered.clusters), (223, Some(90)));
        assert!((clustered.mean - 0.354_260_089_686_098_7).abs() < 1e-15);
        assert!((clustered.stderr.unwrap() - 0.055_224_253_322_796_9).abs() < 1e-15);
        near(clustered.interval, 0.245_689_655_172_413_78, 0.462_882_096_069_869, 0.004);
    }

    #[test]
    fn counts_are_drawn_as_samples_are() {
        let differences = flips(40, 25, 335);
        let blocks: Vec<Block> =
            differences.iter().map(|sum| Block { sum: *sum, size: 1.0 }).collect();
        let mut random = PythonRandom::new(7);
        let mut one_by_one: Vec<f64> =
            (0..REPLICATES).map(|_| mean_of_draws(&blocks, &mut random)).collect();
        one_by_one.sort_unstable_by(f64::total_cmp);
        let counted = of_samples(&differences).unwrap().unwrap();
        let quantile = |share| quantile(&one_by_one, share).unwrap();
        near(counted.interval, quantile(0.025), quantile(0.975), 0.0026);
    }

    #[test]
    fn order_changes_no_bit() {
        let mut differences = flips(30, 12, 158);
        let mut clustered = clusters();
        let before = (of_samples(&differences), of_clusters(&mut clustered.clone()));
        for seed in 0..3 {
            let mut random = PythonRandom::new(seed);
            random.shuffle(&mut differences);
            random.shuffle(&mut clustered);
            assert_eq!((of_samples(&differences), of_clusters(&mut clustered.clone())), before);
        }
    }

    #[test]
    fn few_differences_have_no_interval_and_equal_ones_an_empty_one() {
        assert_eq!(of_samples(&[]).unwrap(), None);
        assert_eq!(of_clusters(&mut []).unwrap(), None);
        let one = of_samples(&[1.0]).unwrap().unwrap();
        assert_eq!((one.mean, one.stderr, one.interval), (1.0, None, None));
        let equal = of_samples(&[0.5; 300]).unwrap().unwrap();
        assert_eq!(equal.interval, Some(Interval { low: 0.5, high: 0.5 }));
        assert!(of_samples(&[f64::NAN]).is_err());
    }

    #[test]
    fn quantiles_lie_between_numbers_as_numpy_has_them() {
        // numpy.quantile([0, 1, 2, 3], q).
        for (share, expected) in [(0.0, 0.0), (0.025, 0.075), (0.5, 1.5), (1.0, 3.0)] {
            assert!((quantile(&[0.0, 1.0, 2.0, 3.0], share).unwrap() - expected).abs() < 1e-12);
        }
    }
}
