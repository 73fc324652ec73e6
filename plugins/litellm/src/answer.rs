//! The text of one choice as it comes in, cut at the stop texts; and what the codecs say about reasoning whose text
//! a server keeps to itself.
//!
//! Pure; knows no wire format.

use plugin_api::{Choice, FinishReason, TokenLogprob};
use wire::stop;

/// A choice being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    stop: Vec<String>,
    text: String,
    /// Bytes that hold no stop text, nor the beginning of one.
    safe: usize,
    /// Bytes that were handed out.
    handed: usize,
    cut: Option<usize>,
}

impl Text {
    /// An empty text that ends before the first of these, none of them empty.
    pub(crate) fn new(stop: &[String]) -> Self {
        Self {
            stop: stop.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            ..Self::default()
        }
    }

    /// Appends. What comes after a stop text does not matter any more.
    pub(crate) fn push(&mut self, more: &str) {
        if self.cut.is_some() {
            return;
        }
        self.text.push_str(more);
        let stops: Vec<&str> = self.stop.iter().map(String::as_str).collect();
        self.cut = stop::find(&self.text, self.safe, &stops);
        self.safe = self.cut.unwrap_or_else(|| stop::safe_len(&self.text, self.safe, &stops));
    }

    /// Whether a stop text came.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// What is new and will stay; everything if no more can come (`over`).
    pub(crate) fn delta(&mut self, over: bool) -> String {
        let end = if over && self.cut.is_none() { self.text.len() } else { self.safe };
        let from = std::mem::replace(&mut self.handed, end);
        self.text.get(from..end).unwrap_or_default().to_owned()
    }

    /// The choice. A text that was cut at a stop text is complete, whatever the server's reason was.
    pub(crate) fn choice(
        &self,
        reason: FinishReason,
        reasoning: Option<String>,
        logprobs: Option<&[TokenLogprob]>,
    ) -> Choice {
        let end = self.cut.unwrap_or(self.text.len());
        Choice {
            text: self.text.get(..end).unwrap_or_default().to_owned(),
            reasoning,
            finish_reason: if self.is_cut() { FinishReason::Stop } else { reason },
            logprobs: logprobs.map(|tokens| self.before_the_cut(tokens)),
        }
    }

    /// The tokens that begin before the cut.
    fn before_the_cut(&self, tokens: &[TokenLogprob]) -> Vec<TokenLogprob> {
        let mut begins = 0;
        tokens
            .iter()
            .take_while(|token| {
                let kept = self.cut.is_none_or(|cut| begins < cut);
                begins += token.token.len();
                kept
            })
            .cloned()
            .collect()
    }
}

/// What stands for reasoning whose text the server does not show: not empty, so that an answer that is empty
/// because the reasoning spent the budget can be told from one that the model left empty.
pub(crate) fn hidden_reasoning(tokens: Option<u64>) -> String {
    match tokens {
        Some(tokens) => format!("({tokens} reasoning tokens, text not shown by the server)"),
        None => "(reasoning, text not shown by the server)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stop: &[&str], pieces: &[&str]) -> (Text, Vec<String>) {
        let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut text = Text::new(&stop);
        let mut deltas = Vec::new();
        for piece in pieces {
            text.push(piece);
            deltas.push(text.delta(false));
        }
        deltas.push(text.delta(true));
        (text, deltas)
    }

    #[test]
    fn a_stop_text_is_found_wherever_the_pieces_are_cut_and_never_handed_out() {
        for (stop, pieces, whole, deltas) in [
            (&["\n\n"][..], &["a\n", "\nb", "c"][..], "a", &["a", "", "", ""][..]),
            (&["\n\n"], &["a\n", "b\n"], "a\nb\n", &["a", "\nb", "\n"]),
            (&["END", ""], &["E", "N", "E"], "ENE", &["", "", "EN", "E"]),
            (&[], &["é", ""], "é", &["é", "", ""]),
            (&["x"], &["x"], "", &["", ""]),
        ] {
            let (text, found) = text(stop, pieces);
            assert_eq!(text.choice(FinishReason::Length, None, None).text, whole, "{pieces:?}");
            assert_eq!(found, deltas, "{pieces:?}");
        }
    }

    #[test]
    fn a_cut_answer_is_complete_and_keeps_the_tokens_before_the_cut() {
        let token = |text: &str| TokenLogprob {
            token: text.to_owned(),
            logprob: Some(-0.5),
            top: Vec::new(),
        };
        let tokens = [token("a"), token("b|c"), token("d")];
        let (cut, _) = text(&["|"], &["ab|cd"]);
        let choice = cut.choice(FinishReason::Length, None, Some(&tokens));
        assert_eq!(choice.finish_reason, FinishReason::Stop);
        assert_eq!(choice.logprobs.map(|tokens| tokens.len()), Some(2));
        let (whole, _) = text(&[], &["ab|cd"]);
        let choice = whole.choice(FinishReason::Length, None, Some(&tokens));
        assert_eq!(choice.finish_reason, FinishReason::Length);
        assert_eq!(choice.logprobs.map(|tokens| tokens.len()), Some(3));
    }
}
