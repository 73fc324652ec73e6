//! A plugin with much to do: many sessions, long prompts, and what its steps cost.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use plugin_api::{Prompt, Request};
use tokio::time::{sleep, timeout};

use super::{
    conversation::{Answering, talk_under},
    finding::{Finding, joined},
    replies,
    sample::generate,
    suite::{HUGE_PROMPTS, MANY_AT_ONCE, SHORT_STEPS, Suite},
};
use crate::plugin::{instance::threads, wake::Registration};

/// Sessions at once.
const MANY: usize = 100;
/// Most CPU time of a step in microseconds, for a plugin that only translates.
const MOST_US: u64 = 10_000;
/// The same for one that computes, between two of which others have their turn.
const MOST_COMPUTING_US: u64 = 200_000;
/// How long a plugin that computes may go on when nobody wants its answer any more.
const LATE: Duration = Duration::from_secs(2);
/// How often a request is repeated to see what its steps cost.
const REPEATS: usize = 3;
/// Bytes of a prompt that is longer than any model takes.
const HUGE: usize = 4 << 20;
/// The same for a plugin that computes.
const HUGE_COMPUTING: usize = 256 << 10;

impl Suite<'_> {
    /// Sessions do not get into each other's way.
    pub(super) async fn many(&self) -> Finding {
        let Some(sample) = self.first() else {
            return Finding::skipped(MANY_AT_ONCE, "it can be asked nothing");
        };
        let many = if self.computes() { 2 * threads(self.declared.limits) } else { MANY };
        let texts: Vec<String> = (0..many).map(|n| format!("Q: Is {n} even?\nA:")).collect();
        let nothing = replies::text(503, "");
        let answering = self.answering(&nothing);
        let talks = join_all(texts.iter().map(|text| {
            let request = match &sample.request {
                Request::Generate(generate) if matches!(generate.prompt, Prompt::Text(_)) => {
                    Request::Generate(plugin_api::Generate {
                        prompt: Prompt::Text(text),
                        ..generate.clone()
                    })
                }
                request => request.clone(),
            };
            async move { self.talk(&request, answering).await }
        }))
        .await;
        let mut faults: Vec<String> = talks.iter().flat_map(|talk| talk.faults.clone()).collect();
        let failed = talks.iter().filter(|talk| self.is_its_own(talk));
        faults.extend(failed.filter_map(|talk| talk.error().map(ToString::to_string)));
        let bodies: BTreeSet<&[u8]> =
            talks.iter().flat_map(|talk| &talk.asked).map(|one| one.body.as_slice()).collect();
        let differ = matches!(&sample.request, Request::Generate(one) if matches!(one.prompt, Prompt::Text(_)));
        let asks = talks.iter().all(|talk| !talk.asked.is_empty());
        if faults.is_empty() && differ && asks && bodies.len() < many {
            faults.push(format!(
                "{many} different prompts became {} different requests",
                bodies.len()
            ));
        }
        Finding::of(MANY_AT_ONCE, &faults, format!("{many} sessions"))
    }

    /// A prompt that no model takes is refused or sent, and nothing worse.
    pub(super) async fn huge(&self) -> Finding {
        let Some(sample) = self.first() else {
            return Finding::skipped(HUGE_PROMPTS, "it can be asked nothing");
        };
        let size = if self.computes() { HUGE_COMPUTING } else { HUGE };
        let text = "grass is green, \"snow\" is white\n".repeat(size / 32);
        let request = match &sample.request {
            Request::Generate(one) if matches!(one.prompt, Prompt::Messages(_)) => {
                let message = plugin_api::Message::text("user", &text);
                Request::Generate(generate(Prompt::Messages(vec![message])))
            }
            Request::Loglikelihood(one) => Request::Loglikelihood(plugin_api::Loglikelihood {
                prompt: Prompt::Text(&text),
                ..one.clone()
            }),
            _ => Request::Generate(generate(Prompt::Text(&text))),
        };
        let reply = replies::text(413, "too long");
        let talk = self.talk(&request, Answering::With(&reply)).await;
        Finding::of(HUGE_PROMPTS, &talk.faults, format!("{} KiB", text.len() >> 10))
    }

    /// Steps are short.
    pub(super) async fn steps(&self) -> Finding {
        let nothing = replies::text(503, "");
        let answering = self.answering(&nothing);
        let (most, what) = if self.computes() {
            (MOST_COMPUTING_US, "that others have no turn within")
        } else {
            (MOST_US, "of CPU")
        };
        let (mut longest, mut faults, mut is_told) = (0, Vec::new(), false);
        for sample in self.declared() {
            // What only the first of several costs, a table that is made once, say, is not what a step costs.
            let mut least: Vec<u64> = Vec::new();
            for _ in 0..REPEATS {
                let talk = self.talk(&sample.request, answering).await;
                least.resize(least.len().max(talk.steps_us.len()), u64::MAX);
                is_told |= talk.steps_us.iter().any(Option::is_some);
                for (least, step) in least.iter_mut().zip(&talk.steps_us) {
                    *least = (*least).min(step.unwrap_or_default());
                }
            }
            let own = least.into_iter().max().unwrap_or_default();
            longest = longest.max(own);
            if own > most {
                faults.push(format!(
                    "{}: a step takes {} ms, more than the {} ms {what}",
                    sample.name,
                    own / 1000,
                    most / 1000
                ));
            }
        }
        if !is_told {
            return Finding::skipped(SHORT_STEPS, "it does not tell what its steps cost");
        }
        if self.computes() && !faults.is_empty() {
            return match self.lets_go().await {
                Ok(()) => Finding::passed(
                    SHORT_STEPS,
                    format!("up to {} ms, but it looks whether it is still wanted", longest / 1000),
                ),
                Err(fault) => {
                    faults.push(fault);
                    Finding::failed(SHORT_STEPS, joined(&faults))
                }
            };
        }
        Finding::of(SHORT_STEPS, &faults, format!("the longest takes {longest} us of CPU"))
    }

    /// A plugin that computes for longer than its turn asks whether it is still wanted.
    async fn lets_go(&self) -> Result<(), String> {
        let Some(sample) = self.first() else { return Ok(()) };
        let registration = Registration::enter();
        let token = registration.token();
        let request = std::slice::from_ref(&sample.request);
        let nothing = replies::text(503, "");
        let session = talk_under(self.worker, registration, request, self.answering(&nothing));
        if timeout(Duration::from_micros(MOST_COMPUTING_US), session).await.is_ok() {
            return Ok(());
        }
        // It is dropped by now, and with it the wish for its answer.
        let mut waited = Duration::ZERO;
        while self.worker.goes_on(token).await {
            if waited > LATE {
                let late = humantime::format_duration(LATE);
                return Err(format!("a step goes on for more than {late} after its session ended"));
            }
            sleep(Duration::from_millis(20)).await;
            waited += Duration::from_millis(20);
        }
        Ok(())
    }
}
