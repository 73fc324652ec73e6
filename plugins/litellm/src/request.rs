//! A request with the run file's defaults, its budget of tokens, and as many calls as its choices need.
//!
//! Pure.

use std::borrow::Cow;

use plugin_api::{Changed, Generate};

use crate::{Litellm, Wire, parameters::change};

impl Litellm {
    /// The request with the backend's defaults where it says nothing. What the run file itself asked for is noted, and
    /// is no breach of `strict_params`.
    pub(crate) fn filled<'a>(
        &'a self,
        request: &Generate<'a>,
        notes: &mut Vec<Changed>,
    ) -> Generate<'a> {
        let config = &self.config;
        let mut request = request.clone();
        request.n = request.n.max(1);
        request.max_tokens = request.max_tokens.or(config.max_tokens);
        request.temperature = request.temperature.or(config.temperature);
        request.top_p = request.top_p.or(config.top_p);
        request.top_k = request.top_k.or(config.top_k);
        request.seed = request.seed.or(config.seed);
        let wants = config.logprobs.unwrap_or(config.top_logprobs.is_some());
        let by_default = wants.then(|| config.top_logprobs.unwrap_or(0));
        request.logprobs = request.logprobs.or(by_default);
        if request.stop.is_empty() {
            request.stop = config.stop.iter().map(|stop| Cow::Borrowed(stop.as_str())).collect();
        }
        for (name, value) in &self.defaults {
            request.extra.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.budget(&mut request, notes);
        request
    }

    /// Widens the budget of a model that reasons, if the run file says so, and keeps it within the context.
    fn budget(&self, request: &mut Generate<'_>, notes: &mut Vec<Changed>) {
        let Some(wanted) = request.max_tokens else { return };
        let reasons = self.config.reasoning_model.unwrap_or_else(|| self.provider.reasons());
        let factor = self.config.reasoning_budget_factor.filter(|_| reasons).unwrap_or(1.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; the factor is 1 or more"
        )]
        let wide = (f64::from(wanted) * factor).ceil() as u32;
        // Widening stops at what the model can give; what was asked for is never cut by a table.
        let table = self.price.as_ref().and_then(|price| price.window.output_tokens);
        let table = table.and_then(|most| u32::try_from(most).ok()).map(|most| most.max(wanted));
        let most = self.config.max_model_length.or(table).unwrap_or(u32::MAX);
        let now = wide.min(most);
        if now != wanted {
            let why = match (now > wanted, now == wide) {
                (true, true) => "reasoning is part of the budget (reasoning_budget_factor)",
                (true, false) => "reasoning is part of the budget, up to what the model takes",
                (false, _) => "max_model_length",
            };
            notes.push(change("max_tokens", format!("{now} instead of {wanted}: {why}")));
            request.max_tokens = Some(now);
        }
    }

    /// The calls that give as many choices as were asked for, of a server that gives `several` at once or one. Each has a seed of its own, and only the first one is
    /// streamed: deltas are an item's, not a choice's.
    pub(crate) fn calls<'a>(&self, request: &Generate<'a>, several: bool) -> Vec<Generate<'a>> {
        let together = match &self.wire {
            Wire::Openai(_) => self.provider.n && several,
            Wire::Gemini(_) => true,
            Wire::Anthropic(_) => false,
        };
        if together || request.n == 1 {
            return vec![request.clone()];
        }
        (0..request.n)
            .map(|choice| Generate {
                n: 1,
                seed: request.seed.map(|seed| seed.wrapping_add(u64::from(choice))),
                stream: request.stream && choice == 0,
                ..request.clone()
            })
            .collect()
    }
}
