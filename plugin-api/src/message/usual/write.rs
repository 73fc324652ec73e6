//! Writes heads as serde does.

use serde::Serialize;

use super::{Keys, LIMITS, USAGE, is_plain, of_limits, of_usage};
use crate::message::{
    ChoiceHead, CompletionHead, Decimal, GenerateHead, HeaderPart, HeaderValue, Http, Limits,
    LoglikelihoodHead, MessageHead, PartHead, PromptHead, ReplyHead, RequestHead, Span, Start,
};

/// What is written goes to the end of the buffer.
pub(super) struct Writer<'w>(pub(super) &'w mut Vec<u8>);

type Written = serde_json::Result<()>;

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        serde_json::to_writer(&mut *self.0, value)
    }

    fn number(&mut self, number: impl Into<u64>) {
        // A number is written into memory, which cannot fail.
        let _ = self.json(&number.into());
    }

    fn text(&mut self, text: &str) -> Written {
        if !text.bytes().all(is_plain) {
            return self.json(text);
        }
        for part in ["\"", text, "\""] {
            self.put(part);
        }
        Ok(())
    }

    fn decimal(&mut self, number: Decimal) {
        self.put("\"");
        self.number(number.0);
        self.put("\"");
    }

    fn span(&mut self, Span(start, length): Span) {
        self.put("[");
        self.number(start as u64);
        self.put(",");
        self.number(length as u64);
        self.put("]");
    }

    fn list<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T) -> Written) -> Written {
        self.put("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.put(",");
            }
            put(self, item)?;
        }
        self.put("]");
        Ok(())
    }

    /// A number behind its key, if there is one.
    fn optional(&mut self, key: &str, number: Option<impl Into<u64>>) {
        if let Some(number) = number {
            self.put(key);
            self.number(number);
        }
    }

    pub(super) fn reply(&mut self, reply: &ReplyHead<'_>) -> Written {
        let ReplyHead { call, status, headers } = reply;
        self.put(r#"{"reply":{"call":"#);
        self.decimal(*call);
        self.put(r#","status":"#);
        self.number(*status);
        self.put(r#","headers":"#);
        self.list(headers, |writer, (name, value)| {
            writer.put("[");
            writer.text(name)?;
            writer.put(",");
            writer.text(value)?;
            writer.put("]");
            Ok(())
        })?;
        self.put("}}");
        Ok(())
    }

    pub(super) fn start(&mut self, start: &Start<'_>) -> Written {
        let Start { request_id, attempt, deadline_ms, requests } = start;
        self.put(r#"{"start":{"request_id":"#);
        self.text(request_id)?;
        self.put(r#","attempt":"#);
        self.number(*attempt);
        self.put(r#","deadline_ms":"#);
        self.number(*deadline_ms);
        self.put(r#","requests":"#);
        self.list(requests, |writer, request| match request {
            RequestHead::Generate(generate) => writer.generate(generate),
            RequestHead::Loglikelihood(request) => writer.loglikelihood(request),
            other => writer.json(other),
        })?;
        self.put("}}");
        Ok(())
    }

    fn generate(&mut self, head: &GenerateHead<'_>) -> Written {
        let GenerateHead {
            prompt,
            n,
            max_tokens,
            temperature,
            top_p,
            top_k,
            stop,
            seed,
            logprobs,
            stream,
            extra,
        } = head;
        self.put(r#"{"generate":{"prompt":"#);
        self.prompt(prompt)?;
        self.put(r#","n":"#);
        self.number(*n);
        self.optional(r#","max_tokens":"#, *max_tokens);
        for (key, number) in [(r#","temperature":"#, temperature), (r#","top_p":"#, top_p)] {
            if let Some(number) = number {
                self.put(key);
                self.json(number)?;
            }
        }
        self.optional(r#","top_k":"#, *top_k);
        if !stop.is_empty() {
            self.put(r#","stop":"#);
            self.list(stop, |writer, stop| writer.text(stop))?;
        }
        if let Some(seed) = *seed {
            self.put(r#","seed":"#);
            self.decimal(seed);
        }
        self.optional(r#","logprobs":"#, *logprobs);
        if *stream {
            self.put(r#","stream":true"#);
        }
        if !extra.is_empty() {
            self.put(r#","extra":"#);
            self.json(extra)?;
        }
        self.put("}}");
        Ok(())
    }

    fn loglikelihood(&mut self, head: &LoglikelihoodHead<'_>) -> Written {
        let LoglikelihoodHead { prompt, continuations, token_logprobs } = head;
        self.put(r#"{"loglikelihood":{"prompt":"#);
        self.prompt(prompt)?;
        self.put(r#","continuations":"#);
        self.list(continuations, |writer, span| {
            writer.span(*span);
            Ok(())
        })?;
        if *token_logprobs {
            self.put(r#","token_logprobs":true"#);
        }
        self.put("}}");
        Ok(())
    }

    fn prompt(&mut self, prompt: &PromptHead<'_>) -> Written {
        match prompt {
            PromptHead::Text(span) => {
                self.put(r#"{"text":"#);
                self.span(*span);
            }
            PromptHead::Messages(messages) => {
                self.put(r#"{"messages":"#);
                self.list(messages, |writer, MessageHead { role, content }| {
                    writer.put(r#"{"role":"#);
                    writer.text(role)?;
                    writer.put(r#","content":"#);
                    writer.list(content, |writer, part| {
                        let PartHead::Text(span) = part else { return writer.json(part) };
                        writer.put(r#"{"text":"#);
                        writer.span(*span);
                        writer.put("}");
                        Ok(())
                    })?;
                    writer.put("}");
                    Ok(())
                })?;
            }
        }
        self.put("}");
        Ok(())
    }

    pub(super) fn http(&mut self, http: &Http<'_>) -> Written {
        let Http { call, method, url, headers, stream, timeout_ms, reply_headers } = http;
        self.put(r#"{"http":{"call":"#);
        self.decimal(*call);
        self.put(r#","method":"#);
        self.text(method)?;
        self.put(r#","url":"#);
        self.text(url)?;
        self.put(r#","headers":"#);
        self.list(headers, |writer, (name, value)| {
            writer.put("[");
            writer.text(name)?;
            writer.put(",");
            match value {
                HeaderValue::Text(text) => writer.text(text)?,
                HeaderValue::Parts(parts) => writer.list(parts, |writer, part| {
                    let (key, text) = match part {
                        HeaderPart::Text(text) => (r#"{"text":"#, text),
                        HeaderPart::Secret(slot) => (r#"{"secret":"#, slot),
                    };
                    writer.put(key);
                    writer.text(text)?;
                    writer.put("}");
                    Ok(())
                })?,
            }
            writer.put("]");
            Ok(())
        })?;
        if *stream {
            self.put(r#","stream":true"#);
        }
        self.optional(r#","timeout_ms":"#, Some(*timeout_ms).filter(|ms| *ms > 0));
        if !reply_headers.is_empty() {
            self.put(r#","reply_headers":"#);
            self.list(reply_headers, |writer, name| writer.text(name))?;
        }
        self.put("}}");
        Ok(())
    }

    pub(super) fn limits(&mut self, mut limits: Limits) {
        self.put(r#"{"limits":"#);
        self.counts(LIMITS, of_limits(&mut limits));
        self.put("}");
    }

    /// A table of those counts that there are.
    fn counts<const N: usize>(&mut self, keys: Keys<N>, counts: [&mut Option<u64>; N]) {
        self.put("{");
        let mut separator = "";
        for (key, count) in keys.into_iter().zip(counts) {
            if let Some(count) = *count {
                for part in [separator, "\"", key, "\":"] {
                    self.put(part);
                }
                self.number(count);
                separator = ",";
            }
        }
        self.put("}");
    }

    pub(super) fn done(&mut self, item: u32, completion: &CompletionHead<'_>) -> Written {
        let CompletionHead { choices, usage, model, changed } = completion;
        self.put(r#"{"done":{"item":"#);
        self.number(item);
        self.put(r#","answer":{"completion":{"choices":"#);
        self.list(choices, |writer, choice| {
            let ChoiceHead { text, reasoning, finish_reason, logprobs } = choice;
            writer.put(r#"{"text":"#);
            writer.span(*text);
            if let Some(reasoning) = *reasoning {
                writer.put(r#","reasoning":"#);
                writer.span(reasoning);
            }
            writer.put(r#","finish_reason":"#);
            writer.text(finish_reason.as_str())?;
            if let Some(logprobs) = logprobs {
                writer.put(r#","logprobs":"#);
                writer.json(logprobs)?;
            }
            writer.put("}");
            Ok(())
        })?;
        self.put(r#","usage":"#);
        let mut usage = *usage;
        self.counts(USAGE, of_usage(&mut usage));
        if let Some(model) = model {
            self.put(r#","model":"#);
            self.text(model)?;
        }
        if !changed.is_empty() {
            self.put(r#","changed":"#);
            self.json(changed)?;
        }
        self.put("}}}}");
        Ok(())
    }
}
