//! Candidates as Gemini answers them, whole and as events.

use serde::Serialize;

use crate::mock::{
    exchange::named_event,
    flavors::{cue::Filter, speak::Spoken},
    model::{End, Said, Token, decode},
};

/// What a reply is made of.
pub(super) struct Answered<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    /// None for a prompt that was blocked.
    pub(super) spoken: &'a [Spoken],
    pub(super) prompt_tokens: usize,
    pub(super) filter: Option<Filter>,
    /// Whether the thinking is shown.
    pub(super) thoughts: bool,
    /// How many alternatives, if log-probabilities are wanted.
    pub(super) logprobs: Option<usize>,
}

/// A reply, or a chunk of one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reply<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    candidates: Vec<Candidate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Usage,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_ratings: Option<[SafetyRating; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_logprobs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs_result: Option<LogprobsResult<'a>>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: Vec<Part<'a>>,
    role: &'static str,
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: &'static str,
    safety_ratings: [SafetyRating; 1],
}

#[derive(Serialize)]
struct SafetyRating {
    category: &'static str,
    probability: &'static str,
    blocked: bool,
}

const BLOCKED: SafetyRating = SafetyRating {
    category: "HARM_CATEGORY_DANGEROUS_CONTENT",
    probability: "HIGH",
    blocked: true,
};

/// Tokens; a count of zero is left out.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    candidates_token_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: usize,
    total_token_count: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogprobsResult<'a> {
    log_probability_sum: f64,
    chosen_candidates: Vec<Chosen<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    top_candidates: Vec<TopCandidates>,
}

#[derive(Serialize)]
struct TopCandidates {
    candidates: Vec<Chosen<'static>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chosen<'a> {
    token: std::borrow::Cow<'a, str>,
    token_id: u32,
    log_probability: f64,
}

/// The tokens that show in an answer.
fn shown(said: &Said) -> Vec<&Token> {
    said.tokens.iter().filter(|token| !said.answer_piece(token).is_empty()).collect()
}

fn logprobs<'a>(said: &'a Said, tokens: &[&Token], most: usize) -> LogprobsResult<'a> {
    let chosen = tokens.iter().map(|token| Chosen {
        token: said.answer_piece(token).into(),
        token_id: token.id,
        log_probability: token.logprob(),
    });
    let top = |token: &&Token| TopCandidates {
        candidates: token
            .alternatives(most)
            .into_iter()
            .map(|(id, log_probability)| {
                let mut text = String::with_capacity(4);
                decode(id, &mut text);
                Chosen { token: text.into(), token_id: id, log_probability }
            })
            .collect(),
    };
    LogprobsResult {
        log_probability_sum: tokens.iter().map(|token| token.logprob()).sum(),
        chosen_candidates: chosen.collect(),
        top_candidates: if most > 0 { tokens.iter().map(top).collect() } else { Vec::new() },
    }
}

impl<'a> Answered<'a> {
    fn usage(&self) -> Usage {
        let candidates: usize =
            self.spoken.iter().map(|spoken| spoken.said.completion_tokens).sum();
        let thoughts: usize = self.spoken.iter().map(Spoken::thought_tokens).sum();
        Usage {
            prompt_token_count: self.prompt_tokens,
            candidates_token_count: candidates,
            thoughts_token_count: thoughts,
            total_token_count: self.prompt_tokens + candidates + thoughts,
        }
    }

    fn reply(&self, candidates: Vec<Candidate<'a>>) -> Reply<'a> {
        let blocked = self.filter == Some(Filter::Prompt);
        Reply {
            candidates,
            prompt_feedback: blocked
                .then_some(PromptFeedback { block_reason: "SAFETY", safety_ratings: [BLOCKED] }),
            usage_metadata: self.usage(),
            model_version: self.model,
            response_id: self.id,
        }
    }

    fn finish_reason(&self, said: &Said) -> &'static str {
        match said.end {
            _ if self.filter.is_some() => "SAFETY",
            End::Eos | End::Stop(_) => "STOP",
            End::Length => "MAX_TOKENS",
        }
    }

    fn thoughts(&self, spoken: &'a Spoken) -> Option<Part<'a>> {
        let thoughts = spoken.thoughts.as_ref().filter(|_| self.thoughts)?;
        Some(Part { text: thoughts.text(), thought: Some(true) })
    }

    /// The end of a candidate, without its content.
    fn ended(&self, index: usize, said: &'a Said) -> Candidate<'a> {
        Candidate {
            content: None,
            finish_reason: Some(self.finish_reason(said)),
            index,
            safety_ratings: self.filter.map(|_| [BLOCKED]),
            avg_logprobs: None,
            logprobs_result: None,
        }
    }

    /// The whole reply.
    pub(super) fn whole(&self) -> Reply<'a> {
        let candidate = |(index, spoken): (usize, &'a Spoken)| {
            let said = &spoken.said;
            let text = said.text();
            let text = (!text.is_empty()).then_some(Part { text, thought: None });
            let parts: Vec<Part<'_>> = self.thoughts(spoken).into_iter().chain(text).collect();
            let tokens = shown(said);
            let wanted = self.logprobs.filter(|_| !tokens.is_empty());
            let result = wanted.map(|most| logprobs(said, &tokens, most));
            Candidate {
                // What was spent or blocked before a word was said has no content at all.
                content: (!parts.is_empty() && self.filter.is_none())
                    .then_some(Content { parts, role: "model" }),
                avg_logprobs: result
                    .as_ref()
                    .map(|result| result.log_probability_sum / tokens.len() as f64),
                logprobs_result: result,
                ..self.ended(index, said)
            }
        };
        self.reply(self.spoken.iter().enumerate().map(candidate).collect())
    }

    /// The events, three tokens in each. Google ends its lines with CR and LF.
    pub(super) fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::with_capacity(self.usage().candidates_token_count / 3 + 2);
        let mut push = |candidates| {
            let mut frame = named_event(b"data: ", &self.reply(candidates));
            frame.truncate(frame.len() - 2);
            frame.extend_from_slice(b"\r\n\r\n");
            frames.push(frame);
        };
        if self.spoken.is_empty() {
            push(Vec::new());
        }
        for (index, spoken) in self.spoken.iter().enumerate() {
            let said = &spoken.said;
            let open = |part, result| Candidate {
                content: Some(Content { parts: vec![part], role: "model" }),
                finish_reason: None,
                safety_ratings: None,
                logprobs_result: result,
                ..self.ended(index, said)
            };
            if let Some(thoughts) = self.thoughts(spoken).filter(|_| self.filter.is_none()) {
                push(vec![open(thoughts, None)]);
            }
            let tokens = shown(said);
            for tokens in tokens.chunks(3) {
                let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
                let end = last.end.min(said.text().len());
                let part = Part { text: &said.text()[first.start..end], thought: None };
                push(vec![open(part, self.logprobs.map(|most| logprobs(said, tokens, most)))]);
            }
            push(vec![self.ended(index, said)]);
        }
        frames
    }
}
