//! What will be asked of whom, decided before the first request.

use std::sync::Arc;

use plugin_api::{capability::Capability, manifest::Declared};

use super::{backend::OpenBackend, event::UnitName};
use crate::task::{
    error::TaskError,
    raw::PromptFormat,
    resolve::{Ability, Task},
};

/// One task at one backend.
#[derive(Debug)]
pub struct Unit {
    /// Position in the plan.
    pub index: usize,
    /// The names.
    pub name: UnitName,
    /// The task, in the form that suits the backend.
    pub task: Task,
    /// The backend.
    pub backend: Arc<OpenBackend>,
    /// Those that stand in for it, in order.
    pub fallbacks: Vec<Arc<OpenBackend>>,
}

/// What a backend can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The backend's id.
    pub id: &'a str,
    /// What its plugin declares.
    pub declared: &'a Declared,
    /// What this one lacks of it; nothing is known of that before it is open.
    pub lacks: &'a [Capability],
}

impl Offer<'_> {
    fn has(&self, capability: &Capability) -> bool {
        self.declared.capabilities.contains(capability) && !self.lacks.contains(capability)
    }
}

/// A task and the backend that it will be asked of, in the form that the backend can do.
#[derive(Debug)]
pub struct Pair {
    /// The task.
    pub task: Task,
    /// The backend's id.
    pub backend: String,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A backend lacks what a task needs.
    #[error(
        "task `{task}` needs {need}, which backend `{backend}` (plugin `{plugin}`) does not offer{hint}"
    )]
    Unsupported {
        /// Id of the task.
        task: String,
        /// What it needs, in words.
        need: String,
        /// Id of the backend.
        backend: String,
        /// Id of its plugin.
        plugin: String,
        /// The way out.
        hint: String,
    },
    /// A backend that stands in for another lacks what a task needs.
    #[error(
        "backend `{other}` cannot stand in for `{backend}` (`fallback`): task `{task}` needs {need}, which it does not \
         offer"
    )]
    Fallback {
        /// Id of the task.
        task: String,
        /// What it needs, in words.
        need: String,
        /// Id of the backend.
        backend: String,
        /// Id of the one that would stand in for it.
        other: String,
    },
    /// The task's other form makes no sense.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// There is nothing to do.
    #[error("nothing to run: a run file needs a `[[backend]]`, and a `[[task]]` that it is asked")]
    Nothing,
}

/// Pairs tasks with backends, each in the form that the backend can do. Asks nobody: manifests say it, and what
/// open backends have said of themselves.
///
/// # Errors
/// The first pair that cannot work, with the ways out.
pub fn plan(tasks: &[(Task, Vec<String>)], offers: &[Offer<'_>]) -> Result<Vec<Pair>, PlanError> {
    let mut pairs = Vec::new();
    for (task, names) in tasks {
        for offer in offers.iter().filter(|offer| names.iter().any(|name| name == offer.id)) {
            let task = suited(task, offer, offers)?;
            pairs.push(Pair { task, backend: offer.id.to_owned() });
        }
    }
    if pairs.is_empty() { Err(PlanError::Nothing) } else { Ok(pairs) }
}

/// The pairs whose backend is open, in the plan's order, with those that stand in for it and are open.
///
/// # Errors
/// A backend that is to stand in for another cannot do what a task needs.
pub fn units(pairs: Vec<Pair>, backends: &[Arc<OpenBackend>]) -> Result<Vec<Arc<Unit>>, PlanError> {
    let open = |id: &str| backends.iter().find(|backend| backend.id == id);
    let mut units = Vec::new();
    for Pair { task, backend } in pairs {
        let Some(backend) = open(&backend) else { continue };
        let fallbacks: Vec<_> =
            backend.fallback.iter().filter_map(|id| open(id)).map(Arc::clone).collect();
        for other in &fallbacks {
            if let Some(first) = missing(&task, &other.offer()).first() {
                return Err(PlanError::Fallback {
                    task: task.id.0.clone(),
                    need: in_words(first, task.format),
                    backend: backend.id.clone(),
                    other: other.id.clone(),
                });
            }
        }
        let name = UnitName { task: task.id.0.clone(), backend: backend.id.clone() };
        let (index, backend) = (units.len(), Arc::clone(backend));
        units.push(Arc::new(Unit { index, name, task, backend, fallbacks }));
    }
    Ok(units)
}

/// The task in the form that the backend can do.
fn suited(task: &Task, offer: &Offer<'_>, all: &[Offer<'_>]) -> Result<Task, PlanError> {
    let missing = missing(task, offer);
    let Some(first) = missing.first() else { return Ok(task.clone()) };
    let mut hint = String::new();
    let fallback = task.fallback().transpose()?;
    let also_missing = fallback.as_ref().map(|fallback| self::missing(fallback, offer));
    match (fallback, also_missing.as_deref()) {
        (Some(fallback), Some([])) => return Ok(fallback),
        (_, Some([also, ..])) => {
            hint.push_str(&format!(
                "; nor the {} that its fallback needs",
                in_words(also, task.format)
            ));
        }
        _ => {}
    }
    let able: Vec<&str> = all
        .iter()
        .filter(|other| self::missing(task, other).is_empty())
        .map(|other| other.id)
        .collect();
    if !able.is_empty() {
        hint.push_str(&format!("; in this run file these do: {}", able.join(", ")));
    }
    if task.ability == Ability::Loglikelihood && also_missing.is_none() {
        hint.push_str(
            "; or say fallback = \"generate\" in the task, to ask for the letter of an option instead \
             (another measure: the two do not compare)",
        );
    } else if able.is_empty() {
        hint.push_str("; `host plugin list` shows what each plugin offers");
    }
    Err(PlanError::Unsupported {
        task: task.id.0.clone(),
        need: in_words(first, task.format),
        backend: offer.id.to_owned(),
        plugin: offer.declared.id.clone(),
        hint,
    })
}

/// Whether a backend that lacks these capabilities cannot do what a task needs.
pub fn lacks(task: &Task, lacking: &[Capability]) -> bool {
    needed(task).iter().any(|capability| lacking.contains(capability))
}

/// What the backend would need and does not offer.
fn missing(task: &Task, offer: &Offer<'_>) -> Vec<Capability> {
    needed(task).into_iter().filter(|capability| !offer.has(capability)).collect()
}

fn needed(task: &Task) -> Vec<Capability> {
    let chat = task.format == PromptFormat::Chat;
    match task.ability {
        Ability::Loglikelihood if chat => vec![Capability::Loglikelihood, Capability::Render],
        Ability::Loglikelihood => vec![Capability::Loglikelihood],
        Ability::LoglikelihoodRolling => vec![Capability::LoglikelihoodRolling],
        Ability::Generate if chat => vec![Capability::Chat],
        Ability::Generate => vec![Capability::Generate],
    }
}

fn in_words(capability: &Capability, format: PromptFormat) -> String {
    let what = match capability {
        Capability::Loglikelihood => "log-likelihood",
        Capability::LoglikelihoodRolling => "rolling log-likelihood",
        Capability::Render => "log-likelihood of chat messages (rendering them)",
        Capability::Chat => "generation from chat messages",
        _ if format == PromptFormat::Text => "generation from plain text",
        other => other.as_str(),
    };
    format!("{what} (capability `{capability}`)")
}
