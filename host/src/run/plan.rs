//! What will be asked of whom, decided before the first request.

use std::sync::Arc;

use plugin_api::capability::Capability;

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
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A backend lacks what a task needs.
    #[error("task `{task}` needs {need}, which backend `{backend}` (plugin `{plugin}`) does not offer{hint}")]
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
    /// The task's other form makes no sense.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// There is nothing to do.
    #[error("nothing to run: no task names any of the backends")]
    Nothing,
}

/// Pairs tasks with backends, each in the form that the backend can do.
///
/// # Errors
/// The first pair that cannot work, with the ways out.
pub fn plan(
    tasks: Vec<(Task, Vec<String>)>,
    backends: &[Arc<OpenBackend>],
) -> Result<Vec<Arc<Unit>>, PlanError> {
    let mut units = Vec::new();
    for (task, names) in tasks {
        for backend in backends.iter().filter(|backend| names.contains(&backend.id)) {
            let index = units.len();
            let name = UnitName { task: task.id.0.clone(), backend: backend.id.clone() };
            let task = suited(&task, backend, backends)?;
            units.push(Arc::new(Unit { index, name, task, backend: Arc::clone(backend) }));
        }
    }
    if units.is_empty() { Err(PlanError::Nothing) } else { Ok(units) }
}

/// The task in the form that the backend can do.
fn suited(task: &Task, backend: &OpenBackend, all: &[Arc<OpenBackend>]) -> Result<Task, PlanError> {
    let missing = missing(task, backend);
    let Some(first) = missing.first() else { return Ok(task.clone()) };
    if let Some(fallback) = task.fallback().transpose()? {
        if self::missing(&fallback, backend).is_empty() {
            return Ok(fallback);
        }
    }
    let able: Vec<&str> = all
        .iter()
        .filter(|other| self::missing(task, other).is_empty())
        .map(|other| other.id.as_str())
        .collect();
    let mut hint = String::new();
    if !able.is_empty() {
        hint.push_str(&format!("; in this run file these do: {}", able.join(", ")));
    }
    if task.ability == Ability::Loglikelihood {
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
        backend: backend.id.clone(),
        plugin: backend.manifest.plugin.id.clone(),
        hint,
    })
}

/// What the backend would need and does not declare.
fn missing(task: &Task, backend: &OpenBackend) -> Vec<Capability> {
    let chat = task.format == PromptFormat::Chat;
    let needed = match task.ability {
        Ability::Loglikelihood if chat => vec![Capability::Loglikelihood, Capability::Render],
        Ability::Loglikelihood => vec![Capability::Loglikelihood],
        Ability::LoglikelihoodRolling => vec![Capability::LoglikelihoodRolling],
        Ability::Generate if chat => vec![Capability::Chat],
        Ability::Generate => vec![Capability::Generate],
    };
    needed.into_iter().filter(|capability| !backend.can(capability)).collect()
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
