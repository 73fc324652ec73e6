//! Reads heads in the one way that they are usually spelt in.

use super::{Keys, LIMITS, USAGE, is_plain, of_limits, of_usage};
use crate::message::{
    Action, AnswerHead, ChoiceHead, CompletionHead, Decimal, Done, Event, FinishReason,
    GenerateHead, Limits, LoglikelihoodHead, MessageHead, PartHead, PromptHead, ReplyHead,
    RequestHead, Span, Start, Str, Usage,
};

/// What is left of a head. Every part of it gives none for what it does not know.
pub(super) struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    pub(super) fn of(head: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(head).ok().map(Self)
    }

    /// Whether this came next.
    fn came(&mut self, literal: &str) -> bool {
        let rest = self.0.strip_prefix(literal);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.came(literal).then_some(())
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(length);
        // JSON has no such number.
        if length > 1 && digits.starts_with('0') {
            return None;
        }
        self.0 = rest;
        T::try_from(digits.parse().ok()?).ok()
    }

    /// A number as serde reads it, with all its digits.
    fn float(&mut self) -> Option<f64> {
        let (number, rest) = self.0.split_at(self.0.find([',', '}'])?);
        self.0 = rest;
        serde_json::from_str(number).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        self.literal("\"")?;
        let (text, rest) = self.0.split_at(self.0.bytes().position(|byte| !is_plain(byte))?);
        self.0 = rest;
        self.literal("\"")?;
        Some(text)
    }

    fn str(&mut self) -> Option<Str<'a>> {
        self.text().map(Str::from)
    }

    fn decimal(&mut self) -> Option<Decimal> {
        self.literal("\"")?;
        let number = self.number()?;
        self.literal("\"")?;
        Some(Decimal(number))
    }

    fn span(&mut self) -> Option<Span> {
        self.literal("[")?;
        let start = self.number()?;
        self.literal(",")?;
        let length = self.number()?;
        self.literal("]")?;
        Some(Span(start, length))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.literal("[")?;
        if self.came("]") {
            return Some(Vec::new());
        }
        // Most lists are of one, and those that grow begin with room for four.
        let mut items = vec![item(self)?];
        while self.came(",") {
            items.push(item(self)?);
        }
        self.literal("]")?;
        Some(items)
    }

    /// What follows a key; none within if the key did not come, none at all if what followed it does not fit.
    fn after<T>(
        &mut self,
        key: &str,
        value: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.came(key) { value(self).map(Some) } else { Some(None) }
    }

    pub(super) fn event(mut self) -> Option<Event<'a>> {
        let event = if self.came(r#"{"reply":"#) {
            Event::Reply(self.reply()?)
        } else {
            self.literal(r#"{"start":"#)?;
            Event::Start(self.start()?)
        };
        self.literal("}")?;
        self.end(event)
    }

    /// What was read, if it was all.
    fn end<T>(self, read: T) -> Option<T> {
        self.0.is_empty().then_some(read)
    }

    fn reply(&mut self) -> Option<ReplyHead<'a>> {
        self.literal(r#"{"call":"#)?;
        let call = self.decimal()?;
        self.literal(r#","status":"#)?;
        let status = self.number()?;
        self.literal(r#","headers":"#)?;
        let headers = self.list(|reader| {
            reader.literal("[")?;
            let name = reader.str()?;
            reader.literal(",")?;
            let value = reader.str()?;
            reader.literal("]")?;
            Some((name, value))
        })?;
        self.literal("}")?;
        Some(ReplyHead { call, status, headers })
    }

    fn start(&mut self) -> Option<Start<'a>> {
        self.literal(r#"{"request_id":"#)?;
        let request_id = self.str()?;
        self.literal(r#","attempt":"#)?;
        let attempt = self.number()?;
        self.literal(r#","deadline_ms":"#)?;
        let deadline_ms = self.number()?;
        self.literal(r#","requests":"#)?;
        let requests = self.list(|reader| {
            if reader.came(r#"{"generate":"#) {
                return reader.generate().map(RequestHead::Generate);
            }
            reader.literal(r#"{"loglikelihood":"#)?;
            reader.loglikelihood().map(RequestHead::Loglikelihood)
        })?;
        self.literal("}")?;
        Some(Start { request_id, attempt, deadline_ms, requests })
    }

    fn generate(&mut self) -> Option<GenerateHead<'a>> {
        self.literal(r#"{"prompt":"#)?;
        let prompt = self.prompt()?;
        self.literal(r#","n":"#)?;
        let n = self.number()?;
        let head = GenerateHead {
            prompt,
            n,
            max_tokens: self.after(r#","max_tokens":"#, Self::number)?,
            temperature: self.after(r#","temperature":"#, Self::float)?,
            top_p: self.after(r#","top_p":"#, Self::float)?,
            top_k: self.after(r#","top_k":"#, Self::number)?,
            stop: self.after(r#","stop":"#, |reader| reader.list(Self::str))?.unwrap_or_default(),
            seed: self.after(r#","seed":"#, Self::decimal)?,
            logprobs: self.after(r#","logprobs":"#, Self::number)?,
            stream: self.came(r#","stream":true"#),
            extra: serde_json::Map::new(),
        };
        self.literal("}}")?;
        Some(head)
    }

    fn loglikelihood(&mut self) -> Option<LoglikelihoodHead<'a>> {
        self.literal(r#"{"prompt":"#)?;
        let prompt = self.prompt()?;
        self.literal(r#","continuations":"#)?;
        let continuations = self.list(Self::span)?;
        let token_logprobs = self.came(r#","token_logprobs":true"#);
        self.literal("}}")?;
        Some(LoglikelihoodHead { prompt, continuations, token_logprobs })
    }

    fn prompt(&mut self) -> Option<PromptHead<'a>> {
        let prompt = if self.came(r#"{"text":"#) {
            PromptHead::Text(self.span()?)
        } else {
            self.literal(r#"{"messages":"#)?;
            PromptHead::Messages(self.list(Self::message)?)
        };
        self.literal("}")?;
        Some(prompt)
    }

    fn message(&mut self) -> Option<MessageHead<'a>> {
        self.literal(r#"{"role":"#)?;
        let role = self.str()?;
        self.literal(r#","content":"#)?;
        let content = self.list(|reader| {
            reader.literal(r#"{"text":"#)?;
            let span = reader.span()?;
            reader.literal("}")?;
            Some(PartHead::Text(span))
        })?;
        self.literal("}")?;
        Some(MessageHead { role, content })
    }

    pub(super) fn action(mut self) -> Option<Action<'a>> {
        let action = if self.came(r#"{"limits":"#) {
            let mut limits = Limits::default();
            self.counts(LIMITS, of_limits(&mut limits))?;
            Action::Limits(limits)
        } else {
            self.literal(r#"{"done":"#)?;
            Action::Done(self.done()?)
        };
        self.literal("}")?;
        self.end(action)
    }

    fn done(&mut self) -> Option<Done<'a>> {
        self.literal(r#"{"item":"#)?;
        let item = self.number()?;
        self.literal(r#","answer":{"completion":{"choices":"#)?;
        let choices = self.list(|reader| {
            reader.literal(r#"{"text":"#)?;
            let text = reader.span()?;
            let reasoning = reader.after(r#","reasoning":"#, Self::span)?;
            reader.literal(r#","finish_reason":"#)?;
            let finish_reason = FinishReason::from(reader.text()?);
            reader.literal("}")?;
            Some(ChoiceHead { text, reasoning, finish_reason, logprobs: None })
        })?;
        self.literal(r#","usage":"#)?;
        let mut usage = Usage::default();
        self.counts(USAGE, of_usage(&mut usage))?;
        let model = self.after(r#","model":"#, Self::str)?;
        self.literal("}}}")?;
        let completion = CompletionHead { choices, usage, model, changed: Vec::new() };
        Some(Done { item, answer: AnswerHead::Completion(completion) })
    }

    /// A table of some of these counts.
    fn counts<const N: usize>(
        &mut self,
        keys: Keys<N>,
        counts: [&mut Option<u64>; N],
    ) -> Option<()> {
        self.literal("{")?;
        let mut separator = "";
        for (key, count) in keys.into_iter().zip(counts) {
            let before = self.0;
            if [separator, "\"", key, "\":"].into_iter().all(|part| self.came(part)) {
                *count = Some(self.number()?);
                separator = ",";
            } else {
                self.0 = before;
            }
        }
        self.literal("}")
    }
}
