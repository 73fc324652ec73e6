//! An endpoint's life over the management API: found, resumed or created, and waited for until it is ready.
//!
//! What this run starts costs until it is freed, so it is noted with the host before it is started
//! ([`Io::hold`]), and the note alone suffices to free it ([`crate::free`]). Only what a run created is ever
//! deleted. Knows nothing of generations.

use plugin_api::{Error, ErrorKind, Held, Host, HttpRequest, Io, Level, Result};
use serde_json::Value;

use crate::{
    call::Caller,
    config::{Instance, OnFinish},
    free::read_note,
    management::{self, Created, Described, Freeing, Note, State},
    settings::Managed,
    wait::{Patience, Readiness, health},
};

/// The management of one endpoint.
#[derive(Debug)]
pub struct Life<'a> {
    /// What is configured.
    pub managed: &'a Managed,
    /// For requests to the API.
    pub api: &'a Caller,
    /// For requests to the endpoint.
    pub caller: &'a Caller,
    /// For warnings.
    pub host: &'a Host,
    /// Where the endpoint says that it is ready, if the run file says so.
    pub health_route: Option<&'a str>,
    /// Time between two looks, in seconds.
    pub poll_interval_s: u32,
    /// Longest time until it is ready, in seconds.
    pub wait_timeout_s: u32,
}

/// An endpoint that is being waited for.
struct Pending {
    described: Described,
    /// What this run holds of it.
    note: Option<Note>,
    /// The machines that are left to try, if this session created it.
    machines: Option<Vec<Instance>>,
}

impl Life<'_> {
    /// The namespace: the run file's, else the token's user, as Hugging Face's own client takes it.
    ///
    /// # Errors
    /// What [`management::user`] makes of the reply.
    pub async fn namespace(&self, io: &Io) -> Result<String> {
        if let Some(namespace) = &self.managed.namespace {
            return Ok(namespace.clone());
        }
        let call = self.api.dress(HttpRequest::get(self.managed.whoami.as_str()));
        management::user(&io.send(call).await?)
    }

    /// The endpoint as it is now; none if there is none.
    ///
    /// # Errors
    /// What [`management::found`] makes of the reply.
    pub async fn look(&self, namespace: &str, io: &Io) -> Result<Option<Described>> {
        self.look_at(namespace, &self.managed.name, io).await
    }

    /// Finds, resumes or creates the endpoint, and waits until it is ready. Gives its URL.
    ///
    /// # Errors
    /// It cannot be had, or did not come up in time. Then what this run holds of it has been freed, or stays
    /// noted if that failed.
    pub async fn bring_up(&self, held: &[Held], io: &Io) -> Result<String> {
        let namespace = self.namespace(io).await?;
        let held_name = management::held_name(&namespace, &self.managed.name);
        let note = match held.iter().find(|held| held.name == held_name) {
            Some(held) => Some(read_note(held)?),
            None => None,
        };
        let mut patience = Patience::new(io, self.wait_timeout_s, self.poll_interval_s);
        let mut pending = self.begin(&namespace, note, io).await?;
        loop {
            match self.wait_until_ready(&namespace, &mut pending, &mut patience, io).await {
                Ok(url) => return Ok(url),
                Err(error) => {
                    let next = self.next_machine(&mut pending);
                    let Some(next) = next.filter(|_| pending.described.state == State::Failed)
                    else {
                        return Err(self.given_up(error, pending.note.as_ref(), io).await);
                    };
                    self.host.log(
                        Level::Warn,
                        &format!(
                            "{error}; it is created anew on {} {}",
                            next.instance_type, next.instance_size
                        ),
                    );
                    match self.again(&namespace, &next, &mut patience, io).await {
                        Ok(described) => pending.described = described,
                        Err(error) => {
                            return Err(self.given_up(error, pending.note.as_ref(), io).await);
                        }
                    }
                }
            }
        }
    }

    /// The endpoint on its way up.
    async fn begin(&self, namespace: &str, note: Option<Note>, io: &Io) -> Result<Pending> {
        let found = self.look(namespace, io).await?;
        let (described, note) = match found {
            Some(described) => (described, note),
            None => match self.create(namespace, io).await? {
                Some(pending) => return Ok(pending),
                // Somebody else made it meanwhile, so it is theirs.
                None => match self.look(namespace, io).await? {
                    Some(described) => (described, None),
                    None => {
                        return Err(Error::new(
                            ErrorKind::Other,
                            format!(
                                "the name `{}` is taken, and yet there is no such endpoint: it is being \
                                 deleted perhaps; try again later or choose another name",
                                self.managed.name
                            ),
                        ));
                    }
                },
            },
        };
        self.adopt(namespace, described, note, io).await
    }

    /// Takes over an endpoint that is there. Nothing is changed of one that another model is served by.
    async fn adopt(
        &self,
        namespace: &str,
        described: Described,
        note: Option<Note>,
        io: &Io,
    ) -> Result<Pending> {
        let name = &self.managed.name;
        if note.is_none() && !self.managed.reuse_existing {
            return Err(refused(format!(
                "there is an endpoint `{namespace}/{name}` already, and reuse_existing = false: choose \
                 another name, or let it be used"
            )));
        }
        for (key, wanted, serves) in [
            ("model", &self.managed.repository, &described.repository),
            ("revision", &self.managed.revision, &described.revision),
        ] {
            if let (Some(wanted), Some(serves)) = (wanted, serves)
                && wanted != serves
            {
                return Err(refused(format!(
                    "{key}: the endpoint `{namespace}/{name}` serves `{serves}`, not `{wanted}`; correct one \
                     of them, or choose another name"
                )));
            }
        }
        let freeing = match described.state {
            State::Paused => Some(Freeing::Pause),
            State::ScaledToZero => Some(Freeing::ScaleToZero),
            State::Running | State::Starting | State::Failed => None,
        };
        if described.state == State::Paused && !self.managed.auto_start {
            return Err(refused(format!(
                "the endpoint `{namespace}/{name}` is paused, and auto_start = false: resume it, or let it be \
                 started"
            )));
        }
        let note = match (note, freeing) {
            // An earlier run that was killed had started it.
            (Some(note), _) => Some(note),
            (None, Some(freeing)) if self.managed.on_finish != OnFinish::Keep => {
                let note = self.note(namespace, freeing, described.repository.clone());
                self.hold(&note, io).await?;
                Some(note)
            }
            (None, _) => None,
        };
        let mut pending = Pending { described, note, machines: None };
        if pending.described.state == State::Paused {
            let call = HttpRequest::post(self.route(namespace, name, "/resume"));
            let resumed = async { management::described(&io.send(self.api.dress(call)).await?) };
            match resumed.await {
                Ok(described) => pending.described = described,
                Err(error) => return Err(self.given_up(error, pending.note.as_ref(), io).await),
            }
        }
        Ok(pending)
    }

    /// Creates the endpoint; none if the name has been taken meanwhile, and then nothing is held.
    async fn create(&self, namespace: &str, io: &Io) -> Result<Option<Pending>> {
        let Managed { name, repository, plan, auto_start, on_finish, .. } = self.managed;
        let missing = |what: &str| {
            refused(format!("there is no endpoint `{namespace}/{name}`, and to create it {what}"))
        };
        if !auto_start {
            return Err(missing("`auto_start` must not be false"));
        }
        let repository = repository.as_deref().ok_or_else(|| missing("`model` must be said"))?;
        let mut machines = plan.instances.iter().rev().cloned().collect::<Vec<_>>();
        let first = machines
            .pop()
            .ok_or_else(|| missing("`instance_type` and `instance_size` must be said"))?;
        let freeing = match on_finish {
            OnFinish::Keep => None,
            OnFinish::Pause => Some(Freeing::Pause),
            OnFinish::Delete => Some(Freeing::Delete),
        };
        let note =
            freeing.map(|freeing| self.note(namespace, freeing, Some(repository.to_owned())));
        if let Some(note) = &note {
            self.hold(note, io).await?;
        }
        match self.post_new(namespace, repository, &first, io).await {
            Ok(Created::New(described)) => {
                Ok(Some(Pending { described, note, machines: Some(machines) }))
            }
            Ok(Created::Conflict) => {
                if let Some(note) = &note {
                    io.free(&note.held_name()).await?;
                }
                Ok(None)
            }
            // A refusal has created nothing; without an answer, nobody knows.
            Err(error) if error.http_status.is_some_and(is_refusal) => {
                if let Some(note) = &note {
                    io.free(&note.held_name()).await?;
                }
                Err(error)
            }
            Err(error) => Err(self.given_up(error, note.as_ref(), io).await),
        }
    }

    async fn post_new(
        &self,
        namespace: &str,
        repository: &str,
        instance: &Instance,
        io: &Io,
    ) -> Result<Created> {
        let body = management::new_endpoint(self.managed, repository, instance);
        let call = HttpRequest::post(format!("{}/endpoint/{namespace}", self.managed.api));
        management::created(&io.send(self.api.dress(call).json(&body)?).await?)
    }

    /// The next machine to try, for an endpoint that this session created.
    fn next_machine(&self, pending: &mut Pending) -> Option<Instance> {
        pending.machines.as_mut()?.pop()
    }

    /// Deletes an endpoint that this session created and that failed to start, and creates it on another machine.
    async fn again(
        &self,
        namespace: &str,
        next: &Instance,
        patience: &mut Patience,
        io: &Io,
    ) -> Result<Described> {
        let Managed { name, repository, .. } = self.managed;
        self.delete(namespace, name, io).await?;
        while self.look(namespace, io).await?.is_some() {
            if !patience.wait(io).await {
                return Err(patience.over("the one that failed is still being deleted"));
            }
        }
        let repository = repository.as_deref().unwrap_or_default();
        match self.post_new(namespace, repository, next, io).await? {
            Created::New(described) => Ok(described),
            Created::Conflict => Err(Error::new(
                ErrorKind::Other,
                format!("the name `{namespace}/{name}` was taken before it could be created anew"),
            )),
        }
    }

    /// Looks until the endpoint runs and says itself that it is ready; one that does already is not waited for.
    async fn wait_until_ready(
        &self,
        namespace: &str,
        pending: &mut Pending,
        patience: &mut Patience,
        io: &Io,
    ) -> Result<String> {
        let name = &self.managed.name;
        // Why the last look failed. One look that fails does not end what has been started.
        let mut blind = None;
        loop {
            let described = &pending.described;
            let mut last = blind.take().unwrap_or_else(|| described.said.clone());
            match (described.state, &described.url) {
                (State::Failed, _) => {
                    return Err(Error::new(
                        ErrorKind::Other,
                        format!(
                            "the endpoint `{namespace}/{name}` does not start ({last}); its logs say why"
                        ),
                    ));
                }
                // A request wakes one that is scaled to zero.
                (State::Running | State::ScaledToZero, Some(url)) => {
                    let route = self.health_route.or(described.health_route.as_deref());
                    match health(self.caller, url, route.unwrap_or("/health"), io).await? {
                        Readiness::Ready if described.state == State::Running => {
                            return Ok(url.clone());
                        }
                        // The API is a little behind the endpoint.
                        Readiness::Ready => {}
                        Readiness::NotYet(said) => last = format!("{last}, {said}"),
                        Readiness::NoRoute(error) => last = format!("{last}, {error}"),
                    }
                }
                _ => {}
            }
            if !patience.wait(io).await {
                return Err(patience.over(&last));
            }
            match self.look(namespace, io).await {
                Ok(Some(described)) => pending.described = described,
                Ok(None) => {
                    return Err(Error::new(
                        ErrorKind::Other,
                        format!(
                            "the endpoint `{namespace}/{name}` was deleted while it was waited for"
                        ),
                    ));
                }
                Err(error) if may_pass(error.kind) => blind = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The endpoint of this name as it is now.
    pub(crate) async fn look_at(
        &self,
        namespace: &str,
        name: &str,
        io: &Io,
    ) -> Result<Option<Described>> {
        let call = HttpRequest::get(self.route(namespace, name, ""));
        management::found(&io.send(self.api.dress(call)).await?)
    }

    async fn hold(&self, note: &Note, io: &Io) -> Result<()> {
        let value = serde_json::to_value(note).unwrap_or(Value::Null);
        io.hold(&note.held_name(), &value).await
    }

    fn note(&self, namespace: &str, on_finish: Freeing, repository: Option<String>) -> Note {
        Note {
            namespace: namespace.to_owned(),
            name: self.managed.name.clone(),
            on_finish,
            repository,
        }
    }

    pub(crate) fn route(&self, namespace: &str, name: &str, action: &str) -> String {
        format!("{}/endpoint/{namespace}/{name}{action}", self.managed.api)
    }
}

/// Statuses by which a server says that it has done nothing, and will not.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=499) && status != 408
}

/// Whether a look that failed may succeed next time.
const fn may_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Transport
            | ErrorKind::Timeout
            | ErrorKind::Overloaded
            | ErrorKind::RateLimited
            | ErrorKind::Loading
    )
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
