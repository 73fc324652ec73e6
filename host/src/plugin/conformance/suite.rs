//! Every check of a plugin's behaviour, in order: from opening to closing, all in one worker unless it dies.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plugin_api::{
    Request,
    manifest::{Declared, Manifest},
    message::OpenHead,
};
use tokio::{sync::Notify, time::timeout};

use super::{
    conversation::{Answering, Talk, talk},
    finding::Finding,
    hard::malformed_events,
    opening::bad_configurations,
    replies::Reply,
    sample::{Sample, samples},
    server::Server,
};
use crate::{
    plugin::{
        instance::reason,
        load::OpenError,
        worker::client::{Program, StartError, Worker},
    },
    secret::Grants,
};

/// Lines of what a plugin writes that are told.
const FIRST_LINES: usize = 3;
/// Longest wait for the end of what a plugin that has died writes.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What takes a plugin that can hold a session.
const REST: [&str; 8] =
    [FAILURES, GARBAGE, INVENTED, ENDINGS, MANY_AT_ONCE, BATCHES, HUGE_PROMPTS, SHORT_STEPS];
pub(super) const ANSWERS: &str = "answers";
pub(super) const FAILURES: &str = "kinds of failures";
pub(super) const GARBAGE: &str = "garbage";
pub(super) const INVENTED: &str = "nothing invented";
pub(super) const ENDINGS: &str = "early ends";
pub(super) const MANY_AT_ONCE: &str = "many at once";
pub(super) const BATCHES: &str = "batches";
pub(super) const HUGE_PROMPTS: &str = "huge prompts";
pub(super) const SHORT_STEPS: &str = "short steps";

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
    let written = Arc::<Output>::default();
    let heard = Arc::clone(&written);
    let program = subject.program.watched(move |line| heard.add(line));
    let open = serde_json::to_vec(&subject.head).unwrap_or_default();
    let worker = match Worker::start(program.clone(), open).await {
        Ok(worker) => worker,
        Err(StartError::Load(error)) => return found(Finding::failed("loads", error.to_string())),
        Err(StartError::Open(error)) => {
            found(Finding::passed("loads", "in a worker"));
            let more = match error {
                OpenError::Died(_) => written.last_words().await,
                OpenError::Failed(_) | OpenError::Panicked(_) => {
                    "; is it given what it needs? (--with, --set)".to_owned()
                }
            };
            return found(Finding::failed("opens", format!("{}{more}", reason(&error))));
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
    found(match written.lines().first.as_slice() {
        [] => Finding::passed("output", "it writes nothing"),
        lines => Finding::failed(
            "output",
            format!("it writes to stdout or stderr, which are the host's: {}", lines.join("; ")),
        ),
    });
}

/// What a plugin writes that should write nothing.
#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    /// Told when a worker writes no more.
    ended: Notify,
}

#[derive(Default)]
struct Lines {
    /// A few.
    first: Vec<String>,
    last: Option<String>,
}

impl Output {
    /// A line, or none at the end of what one worker writes.
    fn add(&self, line: Option<&str>) {
        let Some(line) = line else { return self.ended.notify_one() };
        let mut lines = self.lines();
        if lines.first.len() < FIRST_LINES {
            lines.first.push(line.to_owned());
        }
        lines.last = Some(line.to_owned());
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the only worker, which has died, wrote last, in words that follow its death; nothing if it wrote nothing.
    async fn last_words(&self) -> String {
        // Its output comes another way than its death does, and may come later, or never end if it gave it on.
        let _ = timeout(LAST_WORDS, self.ended.notified()).await;
        let last = self.lines().last.clone();
        last.map(|line| format!("; {line}")).unwrap_or_default()
    }
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

/// A plugin that is open in a worker, and what it is asked.
pub(super) struct Suite<'a> {
    pub(super) declared: &'a Declared,
    pub(super) samples: Vec<Sample>,
    pub(super) grants: &'a Grants,
    pub(super) server: Option<&'a Server>,
    pub(super) worker: &'a Worker,
    pub(super) canaries: Vec<String>,
}

impl Suite<'_> {
    async fn all(&self, found: &mut impl FnMut(Finding)) {
        found(malformed_events(self.worker).await);
        let lacks = self.lacks().await;
        let mut talks = Vec::new();
        found(self.capabilities(&lacks, &mut talks).await);
        found(self.answers(&lacks, &talks));
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

    pub(super) fn computes(&self) -> bool {
        self.declared.limits.blocking
    }

    /// Who answers as it should, if anybody does.
    pub(super) fn answering<'s>(&'s self, otherwise: &'s Reply) -> Answering<'s> {
        self.server.map_or(Answering::With(otherwise), Answering::Server)
    }

    pub(super) fn declares(&self, sample: &Sample) -> bool {
        sample.takes.as_ref().is_none_or(|takes| self.declared.capabilities.contains(takes))
    }

    pub(super) fn declared(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| self.declares(sample))
    }

    /// The request that it is there for.
    pub(super) fn first(&self) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.takes.is_some() && self.declares(sample))
    }

    pub(super) async fn talk(&self, request: &Request<'_>, answering: Answering<'_>) -> Talk {
        talk(self.worker, std::slice::from_ref(request), answering, None).await
    }
}
