//! A plugin with a server that fails, answers nonsense, or is not waited for.

use plugin_api::{Answer, Error};

use super::{
    conversation::{Answering, Talk, talk},
    finding::{Finding, joined},
    replies,
    sample::Sample,
    suite::{ENDINGS, FAILURES, GARBAGE, INVENTED, Suite},
};

/// Most events after which a session is ended early.
const MOST_CUTS: usize = 40;

impl Suite<'_> {
    /// Failures that are the same with every vendor are told by their kind.
    pub(super) async fn failures(&self, talks: &[(&Sample, Talk)]) -> Finding {
        let asks = |name: &str| {
            talks.iter().any(|(sample, talk)| sample.name == name && !talk.asked.is_empty())
        };
        let asking: Vec<&Sample> =
            self.declared().filter(|sample| sample.takes.is_some() && asks(sample.name)).collect();
        if asking.is_empty() {
            return Finding::skipped(FAILURES, "it asks no server");
        }
        let mut faults = Vec::new();
        for sample in asking {
            for (what, reply, expected) in replies::failures() {
                let talk = self.talk(&sample.request, Answering::With(&reply)).await;
                let told = match (&talk.faults.first(), talk.error()) {
                    (Some(fault), _) => (*fault).clone(),
                    // A server that is not ready has not failed.
                    (None, None) if sample.name == "health" => continue,
                    (None, None) => "an answer".to_owned(),
                    (None, Some(error)) if expected.contains(&error.kind) => continue,
                    (None, Some(Error { kind, .. })) => format!("`{kind}`"),
                };
                let expected: Vec<String> =
                    expected.iter().map(|kind| format!("`{kind}`")).collect();
                faults.push(format!(
                    "{}: {what} is told as {told}; expected {}",
                    sample.name,
                    expected.join(" or ")
                ));
            }
        }
        Finding::of(
            FAILURES,
            &faults,
            "401, 429, 503, time-outs and broken connections are told apart",
        )
    }

    /// Replies that mean nothing do no harm, and are not answers.
    pub(super) async fn garbage(&self) -> (Finding, Finding) {
        let garbage = replies::garbage();
        let (mut faults, mut invented, mut asked) = (Vec::new(), Vec::new(), 0);
        for sample in self.declared() {
            for (what, reply) in &garbage {
                let talk = self.talk(&sample.request, Answering::With(reply)).await;
                asked += talk.asked.len();
                let name = sample.name;
                faults.extend(talk.faults.iter().map(|fault| format!("{name}, {what}: {fault}")));
                let answers = talk.items.iter().flatten().filter_map(|item| item.as_ref().ok());
                let is_invented = |answer: &Answer| {
                    matches!(answer, Answer::Completion(_) | Answer::Likelihoods(_))
                };
                if !talk.asked.is_empty() && answers.into_iter().any(is_invented) {
                    invented.push(format!("{name}: {what} is taken for an answer"));
                }
            }
        }
        if asked == 0 && faults.is_empty() {
            let why = "it asks no server";
            return (Finding::skipped(GARBAGE, why), Finding::skipped(INVENTED, why));
        }
        let harm = Finding::of(
            GARBAGE,
            &faults,
            format!("{} replies without sense do no harm", garbage.len()),
        );
        let invented = match invented.as_slice() {
            [] => Finding::passed(INVENTED, "none of them is taken for an answer"),
            // It may be one where the vendor's reply is the bare text.
            some => Finding::warned(INVENTED, joined(some)),
        };
        (harm, invented)
    }

    /// A session may end at any time.
    pub(super) async fn endings(&self) -> Finding {
        let nothing = replies::text(503, "");
        let answering = self.answering(&nothing);
        let (mut faults, mut ended) = (Vec::new(), 0);
        for sample in self.declared() {
            let requests = std::slice::from_ref(&sample.request);
            for events in 0..MOST_CUTS {
                let talk = talk(self.worker, requests, answering, Some(events)).await;
                ended += 1;
                faults.extend(
                    talk.faults
                        .iter()
                        .map(|fault| format!("{} after {events} events: {fault}", sample.name)),
                );
                if !talk.is_cut {
                    break;
                }
            }
            let whole = self.talk(&sample.request, answering).await;
            faults.extend(
                whole
                    .faults
                    .iter()
                    .map(|fault| format!("{} after the others: {fault}", sample.name)),
            );
        }
        Finding::of(
            ENDINGS,
            &faults,
            format!("{ended} sessions were ended early, and others went on"),
        )
    }
}
