//! Of which samples the page holds everything: of all, unless that were too much for a browser.

use serde::Serialize;

/// Bytes of journal lines whose content a page may hold; packed they are about a quarter of it.
pub const MOST_BYTES: u64 = 192 * 1024 * 1024;

/// Of every so manyth sample the details are kept; of none if it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Of those that are wrong or unscored.
    pub notable: u64,
    /// Of the others.
    pub plain: u64,
}

impl Kept {
    /// Everything.
    pub const ALL: Self = Self { notable: 1, plain: 1 };

    /// What fits: what is wrong or unscored first.
    pub fn within(most: u64, notable_bytes: u64, plain_bytes: u64) -> Self {
        if notable_bytes + plain_bytes <= most {
            return Self::ALL;
        }
        if notable_bytes >= most {
            return Self { notable: notable_bytes.div_ceil(most), plain: 0 };
        }
        Self { notable: 1, plain: plain_bytes.div_ceil(most - notable_bytes) }
    }

    /// What the page says of it; nothing if all is kept.
    pub fn in_words(self) -> String {
        let every = |number: u64| match number {
            1 => "every one".to_owned(),
            number => format!("one of {number}"),
        };
        match self {
            Self::ALL => String::new(),
            Self { notable, plain: 0 } => format!(
                "Prompts and answers of all samples would be too much for one page. It holds those of {} that is wrong \
                 or unscored, and none of the others; all are in journal.jsonl.",
                every(notable)
            ),
            Self { notable, plain } => format!(
                "Prompts and answers of all samples would be too much for one page. It holds those of {} that is wrong \
                 or unscored, and {} of the others; all are in journal.jsonl.",
                every(notable),
                every(plain)
            ),
        }
    }
}

/// Chooses one sample after the other.
#[derive(Debug)]
pub struct Chooser {
    kept: Kept,
    notable: u64,
    plain: u64,
}

impl Chooser {
    /// None chosen yet.
    pub fn new(kept: Kept) -> Self {
        Self { kept, notable: 0, plain: 0 }
    }

    /// Whether the details of the next sample are kept.
    pub fn keeps(&mut self, is_notable: bool) -> bool {
        let (every, seen) = if is_notable {
            (self.kept.notable, &mut self.notable)
        } else {
            (self.kept.plain, &mut self.plain)
        };
        let is_turn = every > 0 && seen.is_multiple_of(every);
        *seen += 1;
        is_turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_kept_first() {
        let table = [
            ((50, 50), Kept::ALL),
            ((50, 200), Kept { notable: 1, plain: 4 }),
            ((300, 10), Kept { notable: 3, plain: 0 }),
        ];
        for ((notable, plain), expected) in table {
            let kept = Kept::within(100, notable, plain);
            assert_eq!(kept, expected);
            assert_eq!(kept.in_words().is_empty(), kept == Kept::ALL);
        }
    }

    #[test]
    fn every_so_manyth_is_chosen() {
        let mut chooser = Chooser::new(Kept { notable: 1, plain: 3 });
        let plain: Vec<bool> = (0..5).map(|_| chooser.keeps(false)).collect();
        assert_eq!(plain, [true, false, false, true, false]);
        assert!(chooser.keeps(true) && chooser.keeps(true));
        assert!(!Chooser::new(Kept { notable: 2, plain: 0 }).keeps(false));
    }
}
