//! Reasoning inside an answer's text: `<think>…</think>` at its beginning, as open reasoning models write it and
//! servers without a reasoning parser pass it on.
//!
//! Pure, and incremental: nothing is read twice, since a reasoning may be long.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Where in a growing text the answer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// So far the text may still become an opening tag.
    #[default]
    Undecided,
    /// The text after the opening tag is reasoning; the closing one is not before `searched`.
    Reasoning {
        /// Where the reasoning begins, in bytes.
        from: usize,
        /// Bytes of the text that hold no closing tag.
        searched: usize,
    },
    /// The reasoning is over, and white space after it too may still come.
    Closed {
        /// Where the reasoning begins, in bytes.
        from: usize,
        /// Where it ends.
        to: usize,
        /// Where the answer begins, if nothing but white space comes no further.
        at: usize,
    },
    /// The text is an answer, from its beginning.
    Plain,
}

impl Split {
    /// Goes on with the text as far as it is there by now: what was there before stands as it was.
    pub fn advance(&mut self, text: &str) {
        if *self == Self::Undecided {
            let blank = text.len() - text.trim_start().len();
            let rest = text.get(blank..).unwrap_or_default();
            if rest.starts_with(OPEN) {
                let from = blank + OPEN.len();
                *self = Self::Reasoning { from, searched: from };
            } else if !OPEN.starts_with(rest) {
                *self = Self::Plain;
            }
        }
        if let Self::Reasoning { from, searched } = *self {
            // A tag that was cut begins with `<`, which is no part of another character.
            let found = text.get(searched..).and_then(|rest| rest.find(CLOSE));
            *self = match found {
                Some(offset) => {
                    let to = searched + offset;
                    Self::Closed { from, to, at: to + CLOSE.len() }
                }
                None => Self::Reasoning { from, searched: reach(text, from) },
            };
        }
        if let Self::Closed { at, .. } = self {
            let rest = text.get(*at..).unwrap_or_default();
            *at += rest.len() - rest.trim_start().len();
        }
    }

    /// Where the answer begins; none while there is none.
    pub fn answer(self) -> Option<usize> {
        match self {
            Self::Undecided | Self::Reasoning { .. } => None,
            Self::Closed { at, .. } => Some(at),
            Self::Plain => Some(0),
        }
    }

    /// Reasoning and beginning of the answer in a text that is complete.
    pub fn whole(text: &str) -> (Option<&str>, usize) {
        let mut split = Self::default();
        split.advance(text);
        match split {
            Self::Undecided | Self::Plain => (None, 0),
            Self::Reasoning { from, .. } => (text.get(from..).map(str::trim), text.len()),
            Self::Closed { from, to, at } => (text.get(from..to).map(str::trim), at),
        }
    }
}

/// The bytes of the text that no more text can make the beginning of a closing tag.
fn reach(text: &str, from: usize) -> usize {
    let earliest = from.max((text.len() + 1).saturating_sub(CLOSE.len()));
    let tail = (earliest..text.len())
        .filter_map(|at| text.get(at..).map(|tail| (at, tail)))
        .find(|(_, tail)| CLOSE.starts_with(tail));
    tail.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_is_what_stands_between_the_tags_at_the_beginning() {
        for (text, reasoning, answer) in [
            ("plain <think>no</think>", None, "plain <think>no</think>"),
            (" plain", None, " plain"),
            // evaluation.md, V6.
            ("<think>A?\n\nno</think> B.\n\nQ", Some("A?\n\nno"), "B.\n\nQ"),
            ("\n<think>\né\n</think>\n\n", Some("é"), ""),
            ("<think></think>x", Some(""), "x"),
            ("<think>never ends </thin", Some("never ends </thin"), ""),
            ("<thi", None, "<thi"),
            ("", None, ""),
        ] {
            let (found, at) = Split::whole(text);
            assert_eq!((found, &text[at..]), (reasoning, answer), "{text:?}");
        }
    }

    #[test]
    fn the_split_is_the_same_wherever_the_text_is_cut() {
        let text = "\n<think>a < b </é>\n</think> \nB.";
        let mut whole = Split::default();
        whole.advance(text);
        for first in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            for second in (first..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let mut split = Split::default();
                split.advance(&text[..first]);
                split.advance(&text[..second]);
                split.advance(text);
                assert_eq!(split, whole, "cut at {first} and {second}");
            }
        }
        assert_eq!(whole.answer().map(|at| &text[at..]), Some("B."));
    }
}
