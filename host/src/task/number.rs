//! Finds the last number in a text and writes it in one way only.
//!
//! Knows ASCII digits, groups of thousands, fractions and exponents; no fractions like 1/2 and no
//! number words.

/// The last number of a text: no commas, no plus, no needless zeros, no exponent; `-0` is `0`.
#[must_use]
pub fn last_number(text: &str) -> Option<String> {
    let mut last = None;
    let mut at = 0;
    while at < text.len() {
        match Number::parse(text, at) {
            Some((number, end)) => {
                last = number.canonical().or(last);
                at = end;
            }
            None => at += 1,
        }
    }
    last
}

/// A number whose value is 0.digits × 10^point.
struct Number {
    negative: bool,
    digits: String,
    point: i64,
}

/// What parts thousands: a comma, as LaTeX writes it too, and spaces that no line is broken at.
const SEPARATORS: [&str; 7] = [",\\!", "{,}", "\\,", ",", "\u{202f}", "\u{2009}", "\u{a0}"];

/// Where a group of thousands would begin if a separator stands here.
fn after_separator(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    SEPARATORS.iter().find(|separator| rest.starts_with(**separator)).map(|one| at + one.len())
}

/// Larger exponents than this are no numbers anybody answers with.
const EXPONENT_LIMIT: i64 = 400;

impl Number {
    /// The number whose first digit (or point) stands at `start`, and where it ends.
    fn parse(text: &str, start: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
        let digits_end = |from: usize| (from..).find(|i| !digit(*i)).unwrap_or(from);
        let mut at = digits_end(start);
        if at == start && !(bytes.get(at) == Some(&b'.') && digit(at + 1)) {
            return None;
        }
        let mut digits = text[start..at].to_owned();
        // A comma belongs to the number only where it parts thousands.
        if (1..=3).contains(&digits.len()) {
            while let Some(group) = after_separator(text, at)
                && (0..3).all(|i| digit(group + i))
                && !digit(group + 3)
            {
                digits.push_str(&text[group..group + 3]);
                at = group + 3;
            }
        }
        let mut point = digits.len() as i64;
        if bytes.get(at) == Some(&b'.') && digit(at + 1) {
            let end = digits_end(at + 1);
            digits.push_str(&text[at + 1..end]);
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = bytes.get(at + 1).filter(|sign| matches!(sign, b'+' | b'-'));
            let first = at + 1 + usize::from(sign.is_some());
            let end = digits_end(first);
            if let Some(Ok(exponent)) = text.get(first..end).map(str::parse::<i64>) {
                let exponent = if sign == Some(&b'-') { -exponent } else { exponent };
                point = point.saturating_add(exponent);
                at = end;
            }
        }
        // A minus after a digit, a letter or a bracket is a dash or a difference.
        let amount = text[..start].trim_end_matches(['$', '€', '£', '¥']);
        let amount = if amount.len() < start { amount.trim_end_matches('\\') } else { amount };
        let mut before = amount.chars().rev();
        let minus = matches!(before.next(), Some('-' | '\u{2212}'));
        let negative = minus && !before.next().is_some_and(|c| c.is_alphanumeric() || c == ')');
        Some((Self { negative, digits, point }, at))
    }

    fn canonical(&self) -> Option<String> {
        if self.point.abs() > EXPONENT_LIMIT {
            return None;
        }
        let leading = self.digits.len() - self.digits.trim_start_matches('0').len();
        let digits = self.digits.trim_matches('0');
        if digits.is_empty() {
            return Some("0".to_owned());
        }
        let point = self.point - leading as i64;
        let count = digits.len() as i64;
        let zeros = |n: i64| "0".repeat(n.max(0) as usize);
        let body = if point <= 0 {
            format!("0.{}{digits}", zeros(-point))
        } else if point >= count {
            format!("{digits}{}", zeros(point - count))
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{whole}.{fraction}")
        };
        Some(if self.negative { format!("-{body}") } else { body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_and_written_one_way() {
        let table = [
            ("so 3 + 4 = 7.", Some("7")),
            ("#### 1,234", Some("1234")),
            ("$ 12,345,678.50 in all", Some("12345678.5")),
            ("1,2", Some("2")),
            (r"\boxed{1{,}250}", Some("1250")),
            (r"$10\,000$", Some("10000")),
            (r"10,\!000,\!500", Some("10000500")),
            ("1\u{202f}234\u{a0}567", Some("1234567")),
            ("in 2019\u{a0}100 people", Some("100")),
            ("-$5", Some("-5")),
            ("\u{2212}\\$1,050", Some("-1050")),
            ("from $10-$5", Some("5")),
            ("pay $-5", Some("-5")),
            ("1234,567", Some("567")),
            ("-5", Some("-5")),
            ("\u{2212}5.0", Some("-5")),
            ("10-12", Some("12")),
            ("x = -3", Some("-3")),
            ("007", Some("7")),
            (".5", Some("0.5")),
            ("0.050", Some("0.05")),
            ("3.0", Some("3")),
            ("1.5e3 m", Some("1500")),
            ("2E-2", Some("0.02")),
            ("-0", Some("0")),
            ("100", Some("100")),
            ("it costs 18 dollars", Some("18")),
            ("5e", Some("5")),
            ("1e99999999999999999999", Some("99999999999999999999")),
            ("ü-5 €", Some("5")),
            ("€-5", Some("-5")),
            ("€\u{2212}5", Some("-5")),
            ("5e+", Some("5")),
            ("1,234,5", Some("5")),
            ("1,234.5e-1é", Some("123.45")),
            ("none", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(last_number(text).as_deref(), expected, "{text}");
        }
    }
}
