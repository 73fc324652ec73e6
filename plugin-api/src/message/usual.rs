//! The heads of a usual sample, written and read directly.
//!
//! Host and SDK write JSON in one way only: no spaces, the keys in the order of their structs. Code made for just that is
//! small beside what reads any JSON into any struct, and neither side has that in its caches when the next head comes.
//! What is spelt differently, or holds what is not met a sample, is left to serde: both ways give the same. A request is
//! only written here, since a host knows it by its bytes, which are mostly those of the last sample's.
//!
//! A struct that grows must be taken apart here too before this compiles; until its new key is read here, serde reads the
//! heads that have it.

mod read;
#[cfg(test)]
mod tests;
mod write;

use read::Reader;
use write::Writer;

use super::{Action, AnswerHead, Done, Event, Limits, Usage};

impl<'a> Event<'a> {
    /// Reads the head of an event.
    ///
    /// # Errors
    /// It is not UTF-8, not JSON, or no event.
    ///
    /// ```
    /// use plugin_api::message::{Decimal, Event, ReplyHead};
    ///
    /// let event = Event::read(br#"{"reply":{"call":"1","status":200,"headers":[]}}"#)?;
    /// assert!(matches!(event, Event::Reply(ReplyHead { call: Decimal(1), status: 200, .. })));
    /// # Ok::<(), plugin_api::serde_json::Error>(())
    /// ```
    pub fn read(head: &'a [u8]) -> serde_json::Result<Self> {
        match Reader::of(head).and_then(Reader::event) {
            Some(event) => Ok(event),
            None => super::read(head),
        }
    }

    /// Appends the event's head to `out`.
    ///
    /// # Errors
    /// A value has no JSON form.
    ///
    /// ```
    /// use plugin_api::message::{CallRef, Decimal, Event};
    ///
    /// let mut head = Vec::new();
    /// Event::End(CallRef { call: Decimal(1) }).write(&mut head)?;
    /// assert_eq!(head, br#"{"end":{"call":"1"}}"#);
    /// # Ok::<(), plugin_api::serde_json::Error>(())
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut writer = Writer(out);
        match self {
            Self::Reply(reply) => writer.reply(reply),
            Self::Start(start) => writer.start(start),
            other => writer.json(other),
        }
    }
}

impl<'a> Action<'a> {
    /// Reads the head of an action.
    ///
    /// # Errors
    /// It is not UTF-8, not JSON, or no action.
    ///
    /// ```
    /// use plugin_api::message::Action;
    ///
    /// assert!(matches!(Action::read(br#"{"park":{}}"#), Ok(Action::Park {})));
    /// ```
    pub fn read(head: &'a [u8]) -> serde_json::Result<Self> {
        match Reader::of(head).and_then(Reader::action) {
            Some(action) => Ok(action),
            None => super::read(head),
        }
    }

    /// Appends the action's head to `out`.
    ///
    /// # Errors
    /// A value has no JSON form.
    ///
    /// ```
    /// use plugin_api::message::Action;
    ///
    /// let mut head = Vec::new();
    /// Action::Park {}.write(&mut head)?;
    /// assert_eq!(head, br#"{"park":{}}"#);
    /// # Ok::<(), plugin_api::serde_json::Error>(())
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut writer = Writer(out);
        match self {
            Self::Http(http) => writer.http(http),
            Self::Done(Done { item, answer: AnswerHead::Completion(completion) }) => {
                writer.done(*item, completion)
            }
            Self::Limits(limits) => {
                writer.limits(*limits);
                Ok(())
            }
            other => writer.json(other),
        }
    }
}

/// The keys of a table of counts, in the order in which they are written.
type Keys<const N: usize> = [&'static str; N];

const USAGE: Keys<5> =
    ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_usd_nanos"];

const LIMITS: Keys<3> = ["requests_remaining", "tokens_remaining", "reset_ms"];

fn of_limits(limits: &mut Limits) -> [&mut Option<u64>; 3] {
    let Limits { requests_remaining, tokens_remaining, reset_ms } = limits;
    [requests_remaining, tokens_remaining, reset_ms]
}

fn of_usage(usage: &mut Usage) -> [&mut Option<u64>; 5] {
    let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd_nanos } =
        usage;
    [prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd_nanos]
}

/// Whether a byte stands for itself in a JSON string.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}
