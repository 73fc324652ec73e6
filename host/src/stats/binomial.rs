//! The binomial distribution: its mass, and draws from it.

use std::f64::consts::PI;

use super::python_random::PythonRandom;

/// From here on Stirling's series is exact to the last digits.
const STIRLING_FROM: f64 = 10.0;
/// Mass that is not worth going on for: far below what a draw of 53 bits can hit.
const NOTHING: f64 = 1e-20;

/// ln Γ(x) for x > 0. Source: Stirling's series, Abramowitz and Stegun 6.1.41, after as many steps of
/// Γ(x) = Γ(x+1)/x as it takes.
pub(super) fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 1.0);
    while x < STIRLING_FROM {
        below *= x;
        x += 1.0;
    }
    let (inverse, square) = (1.0 / x, 1.0 / (x * x));
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square
                        * (1.0 / 1260.0
                            - square
                                * (1.0 / 1680.0
                                    - square * (1.0 / 1188.0 - square * 691.0 / 360_360.0)))));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - below.ln()
}

/// The chance of exactly `successes` in `trials` that each succeed with `chance`, which is neither 0 nor 1.
pub(super) fn mass(successes: u64, trials: u64, chance: f64) -> f64 {
    let (k, n) = (successes as f64, trials as f64);
    let ways = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    (ways + k * chance.ln() + (n - k) * (-chance).ln_1p()).exp()
}

/// Draws a number of successes: by inversion that begins at the most likely number and goes outwards, which takes
/// about √`trials` steps.
pub(super) fn draw(trials: u64, chance: f64, random: &mut PythonRandom) -> u64 {
    if trials == 0 || chance <= 0.0 {
        return 0;
    }
    if chance >= 1.0 {
        return trials;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of trials"
    )]
    let mode = (((trials + 1) as f64 * chance) as u64).min(trials);
    let odds = chance / (1.0 - chance);
    let peak = mass(mode, trials, chance);
    let mut left = random.unit() - peak;
    let (mut down, mut up, mut below, mut above) = (mode, mode, peak, peak);
    while left >= 0.0 && below.max(above) > NOTHING {
        if up < trials {
            above *= (trials - up) as f64 / (up + 1) as f64 * odds;
            up += 1;
            left -= above;
            if left < 0.0 {
                return up;
            }
        } else {
            above = 0.0;
        }
        if down > 0 {
            below *= down as f64 / (trials - down + 1) as f64 / odds;
            down -= 1;
            left -= below;
            if left < 0.0 {
                return down;
            }
        } else {
            below = 0.0;
        }
    }
    // The masses add up to 1 but for rounding; what that leaves over is the mode's.
    mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_gamma_are_those_of_closed_forms() {
        let mut factorial: f64 = 1.0;
        for n in 1..=20_u32 {
            factorial *= f64::from(n);
            let found = ln_gamma(f64::from(n) + 1.0);
            assert!((found - factorial.ln()).abs() < 1e-13 * factorial.ln().max(1.0), "{n}");
        }
        assert!((ln_gamma(0.5) - PI.sqrt().ln()).abs() < 1e-14);
    }

    #[test]
    fn masses_add_up_to_one() {
        for (n, p) in [(1, 0.5), (10, 0.1), (1000, 0.37), (100_000, 0.001)] {
            let sum: f64 = (0..=n).map(|k| mass(k, n, p)).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{n} {p}: {sum}");
        }
    }

    #[test]
    fn draws_are_as_frequent_as_their_mass() {
        let draws = 20_000;
        for (n, p) in [(1, 0.5), (5, 0.3), (40, 0.9), (2000, 0.25)] {
            let mut random = PythonRandom::new(1);
            let mut counts = vec![0_u32; n as usize + 1];
            for _ in 0..draws {
                counts[draw(n, p, &mut random) as usize] += 1;
            }
            for (k, count) in counts.iter().enumerate() {
                let expected = mass(k as u64, n, p);
                let off = f64::from(*count) / f64::from(draws) - expected;
                // Five standard errors.
                let most = 5.0 * (expected * (1.0 - expected) / f64::from(draws)).sqrt() + 1e-3;
                assert!(off.abs() < most, "{n} {p}: {k} is off by {off}");
            }
        }
        let mut random = PythonRandom::new(1);
        for (n, p, expected) in [(0, 0.5, 0), (7, 0.0, 0), (7, 1.0, 7)] {
            assert_eq!(draw(n, p, &mut random), expected);
        }
    }
}
