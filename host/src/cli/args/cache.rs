//! What may be typed after `host cache`.

use std::time::Duration;

use clap::Subcommand;

/// `host cache`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what is in the response cache, by backend and model.
    Stats,
    /// Remove answers from the response cache. Runs that use it go on meanwhile.
    Prune(PruneArgs),
}

/// `host cache prune`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct PruneArgs {
    /// Those that were kept longer ago than this: `30d`, `12h`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// The oldest, until the file is no larger than this: `1GiB`, `500MB`.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_size: Option<u64>,
    /// All: the file itself, also if it is damaged.
    #[arg(long, conflicts_with_all = ["older_than", "max_size"])]
    pub all: bool,
}

/// A size in bytes: a number and a unit, `1GiB`, `1.5 MB`, `4096`.
fn bytes(typed: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as 500MB or 1GiB, found {typed:?}");
    let typed_trimmed = typed.trim();
    let end = typed_trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(typed_trimmed.len());
    let (number, unit) = typed_trimmed.split_at(end);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and no sign can be typed"
    )]
    Ok((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (typed, expected) in [
            ("4096", Some(4096)),
            ("1GiB", Some(1 << 30)),
            ("1.5 MB", Some(1_500_000)),
            ("2k", Some(2000)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1 horse", None),
        ] {
            assert_eq!(bytes(typed).ok(), expected, "{typed}");
        }
    }
}
