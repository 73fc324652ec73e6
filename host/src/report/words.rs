//! Numbers as people read them.

/// A time.
pub fn duration(ms: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time is positive, and saturates"
    )]
    let seconds = (ms / 1e3).round() as u64;
    match ms {
        ms if ms < 10.0 => format!("{} ms", trimmed(ms, 1)),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{} s", trimmed(ms / 1e3, 1)),
        ms if ms < 119_500.0 => format!("{seconds} s"),
        _ if seconds < 7_200 => two(seconds / 60, "min", seconds % 60, "s"),
        _ if seconds < 172_800 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A time for people who wait, as narrow as it can be.
pub fn countdown(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time is positive, and saturates"
    )]
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// A number with so many digits after the point, and no zeros at its end.
pub fn trimmed(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A count, its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A narrow space that does not break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number beside an axis.
pub fn tick(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{}M", trimmed(number / 1e6, 1)),
        size if size >= 1e4 => format!("{}k", trimmed(number / 1e3, 1)),
        size if size >= 1.0 => trimmed(number, 1),
        _ => trimmed(number, 3),
    }
}

/// US dollars; small sums with the digits that tell them apart.
pub fn dollars(usd: f64) -> String {
    match usd {
        usd if usd > 0.0 && usd < 1e-4 => format!("${usd:.7}"),
        usd if usd < 1.0 => format!("${usd:.4}"),
        usd => format!("${usd:.2}"),
    }
}

/// A share in percent.
pub fn percent(part: u64, all: u64) -> String {
    if all == 0 {
        return "–".to_owned();
    }
    match part as f64 / all as f64 * 100.0 {
        share if part > 0 && share < 0.1 => "<0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

/// A time stamp of RFC 3339 to the second, for a heading.
pub fn moment(stamp: &str) -> String {
    match stamp.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => stamp.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (ms, expected) in [
            (0.25, "0.2 ms"),
            (7.0, "7 ms"),
            (812.4, "812 ms"),
            (1_840.0, "1.8 s"),
            (59_999.0, "60 s"),
            (119_600.0, "2 min"),
            (200_000.0, "3 min 20 s"),
            (7_500_000.0, "2 h 5 min"),
            (200_000_000.0, "2 d 7 h"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    #[test]
    fn who_waits_is_told_whole_seconds() {
        for (seconds, expected) in [(0.2, "1s"), (59.0, "59s"), (61.0, "1m01s"), (3_720.0, "1h02m")]
        {
            assert_eq!(countdown(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn counts_and_sums_are_readable_at_any_size() {
        assert_eq!(
            [count(0), count(999), count(1_234_567)],
            ["0", "999", "1\u{202f}234\u{202f}567"]
        );
        let ticks = [0.0, 0.05, 2.5, 120.0, 25_000.0, 3e6].map(tick);
        assert_eq!(ticks, ["0", "0.05", "2.5", "120", "25k", "3M"]);
        let sums = [0.0, 0.000_012_3, 0.0123, 12.345].map(dollars);
        assert_eq!(sums, ["$0.0000", "$0.0000123", "$0.0123", "$12.35"]);
        let shares = [(0, 0), (1, 4), (1, 100_000)].map(|(part, all)| percent(part, all));
        assert_eq!(shares, ["–", "25.0 %", "<0.1 %"]);
        assert_eq!(moment("2026-01-02T03:04:05.6789Z"), "2026-01-02 03:04:05 UTC");
    }
}
