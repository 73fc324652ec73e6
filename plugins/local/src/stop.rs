//! Stop strings in streamed text.
//!
//! A stop may begin in one piece and end in another, or lie inside one token. Text that may turn out to be the
//! beginning of a stop is held back, so that nothing of a stop is ever given out.

/// What became of a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StopCheck {
    /// No stop yet; this much is safe to give out.
    Continue(String),
    /// A stop was found; this is the last text before it.
    Stopped(String),
}

/// Looks for the earliest of several stops.
#[derive(Debug)]
pub(crate) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// Looks for any of `stops`; empty ones are ignored.
    pub(crate) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            held: String::new(),
        }
    }

    /// Takes the next piece of text.
    pub(crate) fn push(&mut self, piece: &str) -> StopCheck {
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return StopCheck::Stopped(text);
        }
        let rest = self.held.split_off(self.held.len() - self.suspect_bytes());
        StopCheck::Continue(std::mem::replace(&mut self.held, rest))
    }

    /// The text still held back, which was no stop after all.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that a stop begins with.
    fn suspect_bytes(&self) -> usize {
        let longest = |stop: &String| {
            let most = stop.len().saturating_sub(1).min(self.held.len());
            (1..=most)
                .rev()
                .find(|length| {
                    let start = stop.as_bytes().get(..*length);
                    start.is_some_and(|start| self.held.as_bytes().ends_with(start))
                        && stop.is_char_boundary(*length)
                })
                .unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given out piece by piece, `#` marking a stop, and `~` what the end releases.
    fn stream(stops: &[&str], pieces: &[&str]) -> String {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut out = Vec::new();
        for piece in pieces {
            match matcher.push(piece) {
                StopCheck::Continue(text) => out.push(text),
                StopCheck::Stopped(text) => {
                    out.push(format!("{text}#"));
                    return out.join("|");
                }
            }
        }
        format!("{}~{}", out.join("|"), matcher.finish())
    }

    #[test]
    fn nothing_of_a_stop_is_given_out() {
        let table: &[(&[&str], &[&str], &str)] = &[
            (&[], &["a", "b"], "a|b~"),
            (&[""], &["a"], "a~"),
            (&["\n\n"], &["a\n", "\nb"], "a|#"),
            (&["\n\n"], &["a\n", "b"], "a|\nb~"),
            (&["\n\n"], &["a\n"], "a~\n"),
            (&["END"], &["xENDy"], "x#"),
            (&["END"], &["xE", "N", "x"], "x||ENx~"),
            (&["END"], &["EEN", "D"], "E|#"),
            (&["bcd", "c"], &["abcd"], "a#"),
            (&["Q:", "Question"], &["Q", "uestio", "n"], "||#"),
            (&["é!"], &["caf", "é", "?"], "caf||é?~"),
            (&["aab"], &["aa", "ab"], "|a#"),
        ];
        for (stops, pieces, expected) in table {
            assert_eq!(stream(stops, pieces), *expected, "{stops:?} {pieces:?}");
        }
    }
}
