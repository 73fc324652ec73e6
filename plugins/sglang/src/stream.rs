//! The stream of `/generate`, frame by frame (wire.md 3.3). By default a frame holds all that there is so far; a server
//! started with `--incremental-streaming-output` sends what is new. Nothing in a frame says which, so it is seen
//! from the second frame on.
//!
//! Pure: gets the data of events, sends nothing. What it hands out as new text never holds a stop text, nor the
//! beginning of one.

use plugin_api::{Changed, Choice, Error, ErrorKind, Result, TokenLogprob, Usage};
use wire::stop;

use crate::{
    choice::{self, Answered, Asked},
    decode::{Count, Meta, Output},
};

/// What one event of a stream is.
#[derive(Debug)]
pub enum Frame<'a> {
    /// `[DONE]`, which ends the stream.
    Done,
    /// A choice so far, or what is new of it.
    Output(Box<Output<'a>>),
}

/// Reads the data of one event; none if there is none in it.
///
/// # Errors
/// `unexpected_reply` if it is neither JSON nor the end.
pub fn frame(data: &str) -> Result<Option<Frame<'_>>> {
    match data.trim() {
        "" => Ok(None),
        "[DONE]" => Ok(Some(Frame::Done)),
        json => {
            serde_json::from_str(json).map(|output| Some(Frame::Output(output))).map_err(|error| {
                Error::unexpected(format!(
                    "an event of the stream is not the expected JSON: {error}"
                ))
                .with_excerpt(data.as_bytes())
            })
        }
    }
}

/// How frames follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Only the first text was seen.
    Unknown,
    /// Each frame holds all so far.
    Cumulative,
    /// Each frame holds what is new.
    Incremental,
}

/// Collects the frames of one choice.
#[derive(Debug)]
pub struct Collector<'s> {
    asked: Asked<'s>,
    mode: Mode,
    text: String,
    /// Bytes of `text` that were handed out.
    handed: usize,
    /// Whether a later frame took back text that was handed out (the server cut a stop text's beginning that was
    /// not known here, a regular expression's say); then nothing more is handed out.
    took_back: bool,
    /// Tokens so far, as the server counts them.
    count: u64,
    tokens: Vec<TokenLogprob>,
    ended: Option<Ended>,
}

/// A choice that is complete.
#[derive(Debug)]
pub struct Ended {
    /// The answer.
    pub choice: Choice,
    /// What it cost.
    pub usage: Usage,
    /// What the server changed.
    pub changed: Option<Changed>,
    /// Whether the server is done with it. If not, it was not told of a stop text, and would go on.
    pub by_server: bool,
}

impl<'s> Collector<'s> {
    /// A collector of one choice.
    pub const fn new(asked: Asked<'s>) -> Self {
        Self {
            asked,
            mode: Mode::Unknown,
            text: String::new(),
            handed: 0,
            took_back: false,
            count: 0,
            tokens: Vec::new(),
            ended: None,
        }
    }

    /// Takes one frame of this choice. What comes after its end is passed over.
    ///
    /// # Errors
    /// The failure that the frame tells, an abort included; `context_length` if the server cut the prompt.
    pub fn take(&mut self, output: &Output<'_>) -> Result<()> {
        let meta = output.meta()?;
        if self.ended.is_some() {
            return Ok(());
        }
        choice::uncut(self.asked.prompt_tokens, meta.prompt_tokens)?;
        self.mode = self.mode_with(output, meta);
        if let Some(text) = output.text.as_deref() {
            self.add_text(text);
        }
        let is_last = meta.finish_reason.is_some();
        let cut = stop::find(&self.text, self.handed, self.asked.stop);
        self.add_tokens(meta, is_last || cut.is_some())?;
        self.count = meta.completion_tokens.unwrap_or(self.count);
        if is_last || cut.is_some() {
            self.ended = Some(self.end(meta, cut)?);
        }
        Ok(())
    }

    /// Text that is new since the last time and cannot be part of a stop text.
    pub fn delta(&mut self) -> &str {
        if self.took_back {
            return "";
        }
        if let Some(ended) = &self.ended {
            let from = std::mem::replace(&mut self.handed, ended.choice.text.len());
            return ended.choice.text.get(from..).unwrap_or_default();
        }
        let safe = stop::safe_len(&self.text, self.handed, self.asked.stop);
        let from = std::mem::replace(&mut self.handed, safe);
        self.text.get(from..safe).unwrap_or_default()
    }

    /// Whether the choice is complete.
    pub const fn is_complete(&self) -> bool {
        self.ended.is_some()
    }

    /// The choice.
    ///
    /// # Errors
    /// `transport` if the stream ended before it.
    pub fn finish(self) -> Result<Ended> {
        self.ended.ok_or_else(|| {
            let message =
                format!("the stream ended after {} tokens, before its last event", self.count);
            Error::new(ErrorKind::Transport, message)
        })
    }

    /// Token counts tell the two modes apart for sure; where they are missing, a text that repeats what was there
    /// is taken for all of it.
    fn mode_with(&self, output: &Output<'_>, meta: &Meta<'_>) -> Mode {
        if self.mode != Mode::Unknown {
            return self.mode;
        }
        if let (Some(Count(ids)), Some(total)) = (output.output_ids, meta.completion_tokens)
            && self.count > 0
        {
            if ids == total {
                return Mode::Cumulative;
            }
            if Some(ids) == total.checked_sub(self.count) {
                return Mode::Incremental;
            }
        }
        match output.text.as_deref() {
            _ if self.text.is_empty() => Mode::Unknown,
            None => Mode::Unknown,
            Some(text) if text.starts_with(&self.text) => Mode::Cumulative,
            Some(_) => Mode::Incremental,
        }
    }

    fn add_text(&mut self, text: &str) {
        if self.mode == Mode::Incremental {
            self.text.push_str(text);
            return;
        }
        let handed = self.text.get(..self.handed).unwrap_or_default();
        if !text.starts_with(handed) {
            self.took_back = true;
            self.handed = 0;
        }
        text.clone_into(&mut self.text);
    }

    fn add_tokens(&mut self, meta: &Meta<'_>, is_last: bool) -> Result<()> {
        if !self.asked.logprobs {
            return Ok(());
        }
        // All so far is read once, at the end.
        if self.mode == Mode::Cumulative && !is_last {
            return Ok(());
        }
        let tokens = choice::token_logprobs(meta)?;
        if self.mode == Mode::Incremental {
            self.tokens.extend(tokens);
        } else {
            self.tokens = tokens;
        }
        Ok(())
    }

    fn end(&mut self, meta: &Meta<'_>, cut: Option<usize>) -> Result<Ended> {
        let finish = meta.finish_reason.as_ref();
        let changed = match finish {
            Some(finish) => choice::shortened(finish, meta, &self.asked)?,
            None => None,
        };
        let tokens = self.asked.logprobs.then(|| std::mem::take(&mut self.tokens));
        Ok(Ended {
            choice: choice::finished(self.text.clone(), cut, finish, tokens),
            usage: choice::usage(meta),
            changed,
            by_server: finish.is_some(),
        })
    }
}

impl From<Ended> for Answered {
    fn from(ended: Ended) -> Self {
        Self { choice: ended.choice, usage: ended.usage, changed: ended.changed }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::FinishReason;
    use serde_json::{Value, json};

    use super::*;

    fn asked<'s>(stop: &'s [&'s str]) -> Asked<'s> {
        Asked { stop, logprobs: false, max_new_tokens: 8, prompt_tokens: None }
    }

    /// Takes frames and gives what was handed out after each.
    fn collect(collector: &mut Collector<'_>, frames: &[Value]) -> Vec<String> {
        frames
            .iter()
            .map(|value| {
                let text = value.to_string();
                let Ok(Some(Frame::Output(output))) = frame(&text) else { panic!("{text}") };
                collector.take(&output).unwrap();
                collector.delta().to_owned()
            })
            .collect()
    }

    fn part(text: &str, ids: usize, total: u64, finish: Value) -> Value {
        json!({ "text": text, "output_ids": vec![7; ids],
                "meta_info": { "finish_reason": finish, "prompt_tokens": 3, "completion_tokens": total } })
    }

    fn bare(text: &str, finish: Value) -> Value {
        json!({ "text": text, "meta_info": { "finish_reason": finish } })
    }

    #[test]
    fn both_modes_give_the_same_even_where_new_text_repeats_the_old() {
        let stop = json!({ "type": "stop", "matched": 2 });
        // The second piece of the incremental stream begins with the first: only the counts tell.
        let incremental = [
            part("ha", 1, 1, Value::Null),
            part("haha", 2, 3, Value::Null),
            part("!", 1, 4, stop.clone()),
        ];
        let cumulative = [
            part("ha", 1, 1, Value::Null),
            part("hahaha", 3, 3, Value::Null),
            part("hahaha!", 4, 4, stop.clone()),
        ];
        let without_counts =
            [bare("ha", Value::Null), bare("hahaha", Value::Null), bare("hahaha!", stop.clone())];
        let without_counts_incremental =
            [bare("ha", Value::Null), bare("x", Value::Null), bare("ha", stop)];
        for (frames, text) in [
            (&incremental[..], "hahaha!"),
            (&cumulative, "hahaha!"),
            (&without_counts, "hahaha!"),
            (&without_counts_incremental, "haxha"),
        ] {
            let mut collector = Collector::new(asked(&[]));
            assert_eq!(collect(&mut collector, frames).concat(), text);
            let ended = collector.finish().unwrap();
            assert_eq!((ended.choice.text.as_str(), ended.by_server), (text, true));
            assert_eq!(ended.choice.finish_reason, FinishReason::Stop);
        }
    }

    #[test]
    fn text_handed_out_never_holds_the_beginning_of_a_stop_text() {
        let stops = ["\n\nQ:"];
        let mut collector = Collector::new(asked(&stops));
        // The server cuts the stop text off when it is complete.
        let deltas = collect(
            &mut collector,
            &[
                part(" A", 1, 1, Value::Null),
                part(" A\n", 2, 2, Value::Null),
                part(" A\n\n", 3, 3, Value::Null),
                part(" A", 4, 4, json!({ "type": "stop", "matched": "\n\nQ:" })),
            ],
        );
        assert_eq!(deltas, [" A", "", "", ""]);
        assert_eq!(collector.finish().unwrap().choice.text, " A");
    }

    #[test]
    fn a_stop_text_that_the_server_was_not_told_of_ends_the_choice_early() {
        let stops = ["##"];
        let mut collector = Collector::new(asked(&stops));
        let frames = [part("yes", 1, 1, Value::Null), part(" ## more", 2, 3, Value::Null)];
        assert_eq!(collect(&mut collector, &frames), ["yes", " "]);
        let ended = collector.finish().unwrap();
        assert_eq!((ended.choice.text.as_str(), ended.by_server), ("yes ", false));
        assert_eq!(ended.usage.completion_tokens, Some(3));
    }

    #[test]
    fn text_that_a_later_frame_takes_back_ends_the_handing_out_and_not_the_answer() {
        let mut collector = Collector::new(asked(&[]));
        let frames = [
            part("a 12", 1, 1, Value::Null),
            part("a ", 2, 2, json!({ "type": "stop", "matched": "12" })),
        ];
        assert_eq!(collect(&mut collector, &frames), ["a 12", ""]);
        assert_eq!(collector.finish().unwrap().choice.text, "a ");
    }

    #[test]
    fn an_event_that_is_no_answer_is_a_failure_of_its_kind() {
        for (data, kind) in [
            (
                r#"{"error":{"message":"The request queue is full.","type":"x","code":503,"retryable":true}}"#,
                ErrorKind::Overloaded,
            ),
            (
                r#"{"error":{"message":"top_p must be in (0, 1]","type":"invalid_request_error","code":400,"retryable":false}}"#,
                ErrorKind::InvalidRequest,
            ),
            (
                r#"{"text":"a","meta_info":{"finish_reason":{"type":"abort","message":"Abort in waiting queue"}}}"#,
                ErrorKind::Overloaded,
            ),
            (r#"{"index":3}"#, ErrorKind::UnexpectedReply),
        ] {
            let Ok(Some(Frame::Output(output))) = frame(data) else { panic!("{data}") };
            let error = Collector::new(asked(&[])).take(&output).unwrap_err();
            assert_eq!(error.kind, kind, "{data}");
        }
        assert_eq!(frame("<html>").unwrap_err().kind, ErrorKind::UnexpectedReply);
        assert!(matches!(frame(" [DONE] "), Ok(Some(Frame::Done))));
        assert!(matches!(frame(""), Ok(None)));
    }
}
