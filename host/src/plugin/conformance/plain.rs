//! A plugin with a server that answers as it should: it can do what it declares, and asks for what may be asked.

use plugin_api::{Answer, ErrorKind, Likelihood, Request, capability::Capability};
use url::Url;

use super::{
    conversation::{Asked, Talk, talk},
    finding::Finding,
    replies,
    sample::Sample,
    suite::{ANSWERS, BATCHES, Suite},
};
use crate::plugin::action::{Part, Value};

impl Suite<'_> {
    /// What its server, or its configuration, cannot do of what it declares.
    pub(super) async fn lacks(&self) -> Vec<Capability> {
        let nothing = replies::text(503, "");
        let talk = self.talk(&Request::Describe, self.answering(&nothing)).await;
        match talk.items.into_iter().flatten().next() {
            Some(Ok(Answer::Description(description))) => description.lacks,
            _ => Vec::new(),
        }
    }

    /// What it declares is what it can do, and nothing else. An answer may be wanting where there is no server; but who
    /// asks none has nobody else to wait for.
    pub(super) async fn capabilities<'s>(
        &'s self,
        lacks: &[Capability],
        talks: &mut Vec<(&'s Sample, Talk)>,
    ) -> Finding {
        let nothing = replies::text(503, "");
        let answering = self.answering(&nothing);
        let mut faults = Vec::new();
        for sample in &self.samples {
            let name = sample.name;
            let talk = self.talk(&sample.request, answering).await;
            faults.extend(talk.faults.iter().map(|fault| format!("{name}: {fault}")));
            let is_unsupported =
                talk.error().is_some_and(|error| error.kind == ErrorKind::Unsupported);
            let is_lacking = sample.takes.as_ref().is_some_and(|takes| lacks.contains(takes));
            if !talk.faults.is_empty() || is_lacking {
            } else if self.declares(sample) {
                match talk.error() {
                    Some(error) if is_unsupported && sample.takes.is_some() => {
                        faults.push(format!("{name} is declared, and it says: {error}"));
                    }
                    Some(error) if self.is_its_own(&talk) && sample.takes.is_some() => {
                        faults.push(format!("{name} is declared, and fails: {error}"));
                    }
                    Some(_) => {}
                    None => {
                        faults.extend(unfit(sample, &talk).map(|fault| format!("{name}: {fault}")));
                    }
                }
            } else if !is_unsupported && !matches!(sample.request, Request::Generate(_)) {
                faults.push(match talk.error() {
                    Some(error) => format!(
                        "{name} is not declared, so that it is `unsupported`, and it says: {error}"
                    ),
                    None => format!("{name} is not declared, and it answers"),
                });
            }
            talks.push((sample, talk));
        }
        let good = "what is declared is taken, and what is not is `unsupported`";
        Finding::of("capabilities", &faults, good)
    }

    /// Whether what came of a session is the plugin's own doing, and no want of a server.
    pub(super) fn is_its_own(&self, talk: &Talk) -> bool {
        self.server.is_some() || self.computes() || talk.asked.is_empty()
    }

    /// Of each kind of request that it declares it has given an answer, and those that could not be seen are named.
    pub(super) fn answers(&self, lacks: &[Capability], talks: &[(&Sample, Talk)]) -> Finding {
        let (mut shown, mut lacking, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, talk) in talks {
            let Some(takes) = sample.takes.as_ref().filter(|_| self.declares(sample)) else {
                continue;
            };
            let list = match talk.is_answered() {
                true => &mut shown,
                false if lacks.contains(takes) => &mut lacking,
                false => &mut unseen,
            };
            list.push(sample.name);
        }
        let others = |capability: &&Capability| {
            self.samples.iter().all(|sample| sample.takes.as_ref() != Some(*capability))
        };
        let others = self.declared.capabilities.iter().filter(others);
        let others: Vec<&str> = others.map(Capability::as_str).collect();
        let mut more = String::new();
        for (list, why) in [(&lacking, "this server has none of"), (&others, "not known here")] {
            if !list.is_empty() {
                more.push_str(&format!("; {why}: {}", list.join(", ")));
            }
        }
        let given = |list: &[&str]| match list {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        if unseen.is_empty() && !shown.is_empty() {
            return Finding::passed(ANSWERS, format!("{}{more}", given(&shown)));
        }
        let why = match self.server {
            Some(_) => "",
            None => " (that takes a server: --with RUN_FILE, or --set base_url=URL)",
        };
        let (unseen, shown) = (given(&unseen), given(&shown));
        Finding::skipped(ANSWERS, format!("not shown: {unseen}{why}; shown: {shown}{more}"))
    }

    /// What it asks for can be sent, and goes where it may.
    pub(super) fn requests(&self, talks: &[(&Sample, Talk)]) -> Finding {
        let mut faults = Vec::new();
        let mut asked = 0;
        for (sample, talk) in talks {
            for one in &talk.asked {
                asked += 1;
                let own = self.unfit_request(one);
                faults.extend(own.into_iter().map(|fault| format!("{}: {fault}", sample.name)));
            }
        }
        if asked == 0 && faults.is_empty() {
            return Finding::skipped("requests", "it sends none");
        }
        Finding::of("requests", &faults, format!("{asked} are fit to be sent, no secret in any"))
    }

    fn unfit_request(&self, asked: &Asked) -> Vec<String> {
        let mut faults = Vec::new();
        let method = asked.method.as_bytes();
        if reqwest::Method::from_bytes(method).is_err()
            || asked.method != asked.method.to_uppercase()
        {
            faults.push(format!("{:?} is no HTTP method", asked.method));
        }
        let url = match Url::parse(&asked.url) {
            Ok(url) => url,
            Err(error) => {
                faults.push(format!("{:?} is no URL: {error}", asked.url));
                return faults;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            faults.push("a name or password in a URL; that is what a slot is for".to_owned());
        }
        if let Err(refusal) = self.grants.request(&url) {
            faults.push(refusal.to_string());
        }
        for (name, value) in &asked.headers {
            if *name != name.to_lowercase() || name.parse::<reqwest::header::HeaderName>().is_err()
            {
                faults.push(format!("{name:?} is no name of a header in lower case"));
            }
            let texts: Vec<&str> = match value {
                Value::Text(text) => vec![text],
                Value::Parts(parts) => parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        Part::Secret(_) => None,
                    })
                    .collect(),
            };
            if texts.iter().any(|text| reqwest::header::HeaderValue::from_str(text).is_err()) {
                faults.push(format!("the header {name} has a value that no header can carry"));
            }
            if let Value::Parts(parts) = value {
                for part in parts {
                    if let Part::Secret(slot) = part
                        && let Err(refusal) = self.grants.secret(slot, &url)
                    {
                        faults.push(refusal.to_string());
                    }
                }
            }
        }
        let holds = |text: &str| {
            self.canaries.iter().any(|secret| !secret.is_empty() && text.contains(secret.as_str()))
        };
        if holds(&asked.url) || holds(&String::from_utf8_lossy(&asked.body)) {
            faults.push("a secret from its environment is in a URL or a body".to_owned());
        }
        faults
    }

    /// A batch is answered item by item.
    pub(super) async fn batch(&self) -> Finding {
        let most = self.declared.limits.max_batch;
        let batched = self.declared().find(|sample| {
            matches!(sample.takes, Some(Capability::Generate | Capability::Loglikelihood))
        });
        let (Some(sample), 2..) = (batched, most) else {
            return Finding::skipped(BATCHES, "it takes one item at a time");
        };
        let items = vec![sample.request.clone(); (most as usize).min(4)];
        let nothing = replies::text(503, "");
        let talk = talk(self.worker, &items, self.answering(&nothing), None).await;
        let mut faults = talk.faults.clone();
        if self.is_its_own(&talk) {
            faults.extend(talk.error().map(ToString::to_string));
        }
        Finding::of(BATCHES, &faults, format!("{} items of one session", items.len()))
    }
}

/// What an answer lacks that its request asks for.
fn unfit(sample: &Sample, talk: &Talk) -> Option<String> {
    let Some(Some(Ok(answer))) = talk.items.first() else { return None };
    match (&sample.request, answer) {
        (Request::Generate(generate), Answer::Completion(completion)) => {
            if completion.choices.len() != generate.n as usize {
                return Some(format!(
                    "{} choices where {} are asked for",
                    completion.choices.len(),
                    generate.n
                ));
            }
            let has_text = completion.choices.iter().any(|choice| !choice.text.is_empty());
            (generate.stream && talk.deltas == 0 && has_text)
                .then(|| "its answer comes without a `delta`".to_owned())
        }
        (Request::Loglikelihood(request), Answer::Likelihoods(answers)) => {
            let (expected, given) = (request.continuations.len(), answers.len());
            if given != expected {
                return Some(format!("{given} likelihoods of {expected} continuations"));
            }
            answers.iter().find_map(unlikely)
        }
        (Request::Rolling(_), Answer::Likelihoods(answers)) => match answers.as_slice() {
            [one] => unlikely(one),
            many => Some(format!("{} likelihoods of one text", many.len())),
        },
        (Request::Embed(texts), Answer::Vectors(vectors)) => (vectors.len() != texts.len())
            .then(|| format!("{} vectors of {} texts", vectors.len(), texts.len())),
        (Request::Health, Answer::Health(_))
        | (Request::Tokenize(_), Answer::Tokens(_))
        | (Request::Render(_), Answer::Rendered(_))
        | (Request::Describe, Answer::Description(_))
        | (Request::Prepare(_) | Request::Release(_), Answer::Nothing) => None,
        _ => Some("an answer to another kind of request".to_owned()),
    }
}

/// What rounding may add to the log-probability of what is certain.
const ROUNDING: f64 = 1e-3;

/// What no likelihood of a text that is not empty can be.
fn unlikely(likelihood: &Likelihood) -> Option<String> {
    match likelihood {
        Likelihood { logprob: Some(above), .. } if *above > ROUNDING => {
            Some(format!("a log-probability of {above}, which is above 0"))
        }
        Likelihood { tokens: 0, .. } => Some("a likelihood of no token".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likelihood_is_of_something_and_of_no_more_than_certainty() {
        let table = [
            (Some(-1.5), 2, None),
            (Some(1e-7), 1, None),
            (None, 1, None),
            (Some(0.5), 1, Some("a log-probability of 0.5, which is above 0")),
            (Some(-1.5), 0, Some("a likelihood of no token")),
        ];
        for (logprob, tokens, expected) in table {
            let one = Likelihood { logprob, tokens, ..Likelihood::default() };
            assert_eq!(unlikely(&one).as_deref(), expected);
        }
    }
}
