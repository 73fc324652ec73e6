//! Every check of a plugin's behaviour, in order: from opening to closing, all in one worker unless it dies.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use plugin_api::{
    Answer, Error, ErrorKind, Prompt, Request,
    capability::Capability,
    manifest::{Declared, Manifest},
    message::OpenHead,
};
use tokio::time::{sleep, timeout};
use url::Url;

use super::{
    conversation::{Answering, Asked, Talk, talk},
    finding::{Finding, joined},
    hard::malformed_events,
    opening::bad_configurations,
    replies::{self, Reply},
    sample::{Sample, generate, samples},
    server::Server,
};
use crate::{
    plugin::{
        action::{Part, Value},
        instance::threads,
        wake::Registration,
        worker::client::{Program, StartError, Worker},
    },
    secret::Grants,
};

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
/// What takes a plugin that can hold a session.
const REST: [&str; 8] =
    [FAILURES, GARBAGE, INVENTED, ENDINGS, MANY_AT_ONCE, BATCHES, HUGE_PROMPTS, SHORT_STEPS];
const FAILURES: &str = "kinds of failures";
const GARBAGE: &str = "garbage";
const INVENTED: &str = "nothing invented";
const ENDINGS: &str = "early ends";
const MANY_AT_ONCE: &str = "many at once";
const BATCHES: &str = "batches";
const HUGE_PROMPTS: &str = "huge prompts";
const SHORT_STEPS: &str = "short steps";

/// Most events after which a session is ended early.
const MOST_CUTS: usize = 40;

/// A plugin that is looked at.
pub struct Subject {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its code.
    pub program: Program,
    /// What it is opened with.
    pub head: OpenHead,
    /// What it may reach.
    pub grants: Grants,
    /// Who answers it; none if there is no server to ask.
    pub server: Option<Server>,
}

/// Runs the plugin in a worker and tells what is found, as it is found.
pub async fn examine(subject: Subject, mut found: impl FnMut(Finding)) {
    let written: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&written);
    let program = subject.program.watched(move |line| {
        let mut lines = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < 3 {
            lines.push(line.to_owned());
        }
    });
    let open = serde_json::to_vec(&subject.head).unwrap_or_default();
    let worker = match Worker::start(program.clone(), open).await {
        Ok(worker) => worker,
        Err(StartError::Load(error)) => return found(Finding::failed("loads", error.to_string())),
        Err(StartError::Open(error)) => {
            found(Finding::passed("loads", "in a worker"));
            let hint = "; is it given what it needs? (--with, --set)";
            return found(Finding::failed("opens", format!("{error}{hint}")));
        }
    };
    found(Finding::passed("loads", in_force(worker.confined())));
    found(Finding::passed("opens", "with the configuration that it was given"));
    found(bad_configurations(&program, &subject.head, &subject.manifest.config_schema).await);
    let suite = Suite {
        declared: &subject.manifest.plugin,
        samples: samples(&subject.manifest.plugin),
        grants: &subject.grants,
        server: subject.server.as_ref(),
        worker: &worker,
        canaries: canaries(&subject.head),
    };
    suite.all(&mut found).await;
    let broken = worker.broken().map(str::to_owned);
    found(match (broken, worker.close().await) {
        (Some(broken), _) => Finding::failed("closes", broken),
        (None, Ok(0)) => Finding::passed("closes", "and leaves no thread"),
        (None, Ok(threads)) => Finding::failed(
            "closes",
            format!("{threads} threads go on after its backend is closed"),
        ),
        (None, Err(error)) => Finding::failed("closes", error.message),
    });
    drop(worker);
    let written = written.lock().unwrap_or_else(PoisonError::into_inner);
    found(match written.as_slice() {
        [] => Finding::passed("output", "it writes nothing"),
        lines => Finding::failed(
            "output",
            format!("it writes to stdout or stderr, which are the host's: {}", lines.join("; ")),
        ),
    });
}

fn in_force(confined: &[String]) -> String {
    match confined {
        [] => "in a worker that nothing confines".to_owned(),
        by => format!("in a worker under {}", by.join(", ")),
    }
}

/// Values that it is told under names of secrets: none of them may come back in a URL or a body.
fn canaries(head: &OpenHead) -> Vec<String> {
    let secret = |(name, _): &(&String, &String)| crate::secret::is_secret_name(name);
    head.env.iter().filter(secret).map(|(_, value)| value.clone()).collect()
}

struct Suite<'a> {
    declared: &'a Declared,
    samples: Vec<Sample>,
    grants: &'a Grants,
    server: Option<&'a Server>,
    worker: &'a Worker,
    canaries: Vec<String>,
}

impl Suite<'_> {
    async fn all(&self, found: &mut impl FnMut(Finding)) {
        found(malformed_events(self.worker).await);
        let lacks = self.lacks().await;
        let mut talks = Vec::new();
        found(self.capabilities(&lacks, &mut talks).await);
        found(self.requests(&talks));
        if talks.iter().any(|(_, talk)| !talk.faults.is_empty()) {
            let why = "it breaks the contract in a plain session; that comes first";
            return REST.into_iter().for_each(|check| found(Finding::skipped(check, why)));
        }
        found(self.failures(&talks).await);
        let (garbage, invented) = self.garbage().await;
        found(garbage);
        found(invented);
        found(self.endings().await);
        found(self.many().await);
        found(self.batch().await);
        found(self.huge().await);
        found(self.steps().await);
    }

    fn computes(&self) -> bool {
        self.declared.limits.blocking
    }

    /// Who answers as it should, if anybody does.
    fn answering<'s>(&'s self, otherwise: &'s Reply) -> Answering<'s> {
        self.server.map_or(Answering::With(otherwise), Answering::Server)
    }

    fn declares(&self, sample: &Sample) -> bool {
        sample.takes.as_ref().is_none_or(|takes| self.declared.capabilities.contains(takes))
    }

    fn declared(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| self.declares(sample))
    }

    /// The request that it is there for.
    fn first(&self) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.takes.is_some() && self.declares(sample))
    }

    async fn talk(&self, request: &Request<'_>, answering: Answering<'_>) -> Talk {
        talk(self.worker, std::slice::from_ref(request), answering, None).await
    }

    /// What its server cannot do of what it declares.
    async fn lacks(&self) -> Vec<Capability> {
        let Some(server) = self.server else { return Vec::new() };
        let talk = self.talk(&Request::Describe, Answering::Server(server)).await;
        match talk.items.into_iter().flatten().next() {
            Some(Ok(Answer::Description(description))) => description.lacks,
            _ => Vec::new(),
        }
    }

    /// What it declares is what it can do, and nothing else.
    async fn capabilities<'s>(
        &'s self,
        lacks: &[Capability],
        talks: &mut Vec<(&'s Sample, Talk)>,
    ) -> Finding {
        let nothing = replies::text(503, "");
        let answering = self.answering(&nothing);
        let is_answered = self.server.is_some() || self.computes();
        let mut faults = Vec::new();
        let mut answered = 0;
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
                    Some(error) if is_answered && sample.takes.is_some() => {
                        faults.push(format!("{name} is declared, and fails: {error}"));
                    }
                    Some(_) => {}
                    None => {
                        answered += 1;
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
        let good = if is_answered {
            format!("{answered} kinds of requests are answered, the others are `unsupported`")
        } else {
            "what is not declared is `unsupported`; whether the rest is answered takes a server: --with, --set base_url"
                .to_owned()
        };
        Finding::of("capabilities", &faults, good)
    }

    /// What it asks for can be sent, and goes where it may.
    fn requests(&self, talks: &[(&Sample, Talk)]) -> Finding {
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

    /// Failures that are the same with every vendor are told by their kind.
    async fn failures(&self, talks: &[(&Sample, Talk)]) -> Finding {
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
    async fn garbage(&self) -> (Finding, Finding) {
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
    async fn endings(&self) -> Finding {
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

    /// Sessions do not get into each other's way.
    async fn many(&self) -> Finding {
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
        if self.server.is_some() || self.computes() {
            let failed = talks.iter().filter(|talk| !talk.is_answered());
            faults.extend(failed.filter_map(|talk| talk.error().map(ToString::to_string)));
        }
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

    /// A batch is answered item by item.
    async fn batch(&self) -> Finding {
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
        if self.server.is_some() || self.computes() {
            faults.extend(talk.error().map(ToString::to_string));
        }
        Finding::of(BATCHES, &faults, format!("{} items of one session", items.len()))
    }

    /// A prompt that no model takes is refused or sent, and nothing worse.
    async fn huge(&self) -> Finding {
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
    async fn steps(&self) -> Finding {
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
        let session = super::conversation::talk_under(
            self.worker,
            registration,
            request,
            self.answering(&nothing),
        );
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
            (given != expected).then(|| format!("{given} likelihoods of {expected} continuations"))
        }
        (Request::Rolling(_), Answer::Likelihoods(answers)) => {
            (answers.len() != 1).then(|| format!("{} likelihoods of one text", answers.len()))
        }
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
