//! What a reply takes and costs, from two probes of different lengths: what is the same in both is the prompt's, what
//! differs is the tokens'.

use crate::run::estimate::Estimate;

/// What was measured of one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probe {
    pub(super) seconds: f64,
    /// Tokens of the prompt and of the reply, as far as the server counts them.
    pub(super) prompt_tokens: Option<u64>,
    pub(super) reply_tokens: Option<u64>,
    /// US dollars.
    pub(super) usd: Option<f64>,
}

/// How fast and how dear a backend is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    short: Probe,
    /// Allowed more tokens; none where that makes no difference.
    long: Option<Probe>,
}

impl Pace {
    pub(super) fn of(short: Probe, long: Option<Probe>) -> Self {
        Self { short, long }
    }

    /// Seconds of a sample whose reply takes all its tokens.
    pub(super) fn seconds(&self, amount: &Estimate) -> f64 {
        let most = tokens(amount.max_output_tokens) / tokens(amount.samples.max(1));
        match self.slope(|probe| Some(probe.seconds)) {
            Some((start, each)) => start + each * most,
            None => self.longest(),
        }
    }

    /// US dollars for all of it, if every reply takes all its tokens.
    pub(super) fn usd(&self, amount: &Estimate) -> Option<f64> {
        let (prompt, most) = (tokens(amount.prompt_tokens()), tokens(amount.max_output_tokens));
        if let Some((start, each)) = self.slope(|probe| probe.usd) {
            let a_prompt_token = start / tokens(self.short.prompt_tokens?).max(1.0);
            return Some(prompt * a_prompt_token + most * each);
        }
        // One price for all, which is too low where replies cost more than prompts.
        let used = self.short.prompt_tokens? + self.short.reply_tokens.unwrap_or(0);
        Some(self.short.usd? / tokens(used).max(1.0) * (prompt + most))
    }

    fn longest(&self) -> f64 {
        self.short.seconds.max(self.long.map_or(0.0, |long| long.seconds))
    }

    /// What a measure would be without a reply, and what each token of it adds; none if the replies were of one length.
    fn slope(&self, measure: impl Fn(&Probe) -> Option<f64>) -> Option<(f64, f64)> {
        let (short, long) = (self.short, self.long?);
        let (few, many) = (short.reply_tokens?, long.reply_tokens?);
        if many <= few {
            return None;
        }
        let (less, more) = (measure(&short)?, measure(&long)?);
        // A server may have been slower by chance.
        let each = ((more - less) / tokens(many - few)).max(0.0);
        Some(((less - each * tokens(few)).max(0.0), each))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
fn tokens(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(seconds: f64, reply: u64, usd: f64) -> Probe {
        let (prompt_tokens, reply_tokens) = (Some(100), Some(reply));
        Probe { seconds, prompt_tokens, reply_tokens, usd: Some(usd) }
    }

    #[test]
    fn two_lengths_tell_prompt_and_reply_apart() {
        // 0.2 s and 10 ms a token; a dollar for a thousand tokens of a prompt, four for those of a reply.
        let pace = Pace::of(probe(0.36, 16, 0.164), Some(probe(0.84, 64, 0.356)));
        let amount = Estimate {
            samples: 10,
            prompt_characters: 4_000,
            max_output_tokens: 5_120,
            ..Estimate::default()
        };
        assert!((pace.seconds(&amount) - (0.2 + 5.12)).abs() < 1e-9, "{}", pace.seconds(&amount));
        let usd = pace.usd(&amount).unwrap();
        assert!((usd - (1.0 + 20.48)).abs() < 1e-9, "{usd}");
    }

    #[test]
    fn replies_of_one_length_give_one_price_and_the_longest_time() {
        let pace = Pace::of(probe(0.4, 10, 0.11), Some(probe(0.3, 10, 0.11)));
        let amount = Estimate { samples: 1, max_output_tokens: 100, ..Estimate::default() };
        assert_eq!(pace.seconds(&amount), 0.4);
        assert!((pace.usd(&amount).unwrap() - 0.1).abs() < 1e-9);
        let unpriced = Pace::of(Probe { usd: None, ..probe(1.0, 1, 0.0) }, None);
        assert_eq!(unpriced.usd(&amount), None);
    }
}
