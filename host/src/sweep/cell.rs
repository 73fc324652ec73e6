//! From a matrix to its cells: the pairs of model and task that are left, each with a name that a folder can have and
//! the values that the template sees. Pure.

use serde_json::{Map, Value, json};

use super::{
    error::SweepError,
    glob::matches,
    matrix::{Entry, Matrix, Rule},
};
use crate::{
    config::{ConfigError, Problem, nearest},
    store::run_dir::safe,
};

/// Longest name of a cell in bytes: what a file's may be, less what a run adds to it.
const LONGEST: usize = 200;

/// One run of a sweep.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its name: the model's and the task's, as a folder can be called.
    pub id: String,
    /// Id of the model.
    pub model: String,
    /// Id of the task, if the matrix names any.
    pub task: Option<String>,
    /// What the template sees: `cell`, `model`, and `task` if there is one.
    pub context: Value,
}

/// The cells of a matrix, in its order: all tasks of a model before the next model.
///
/// # Errors
/// Names that clash or are too long, and rules that fit no cell.
pub fn cells(matrix: &Matrix) -> Result<Vec<Cell>, ConfigError> {
    let mut problems = Vec::new();
    let mut cells: Vec<(Cell, &Entry)> = Vec::new();
    let defaults = matrix.defaults.to_value();
    for model in &matrix.models {
        for task in tasks(matrix) {
            let cell = pair(model, task, &defaults);
            let excluded = matrix.exclude.iter().any(|rule| rule.fits(&cell, true));
            let included = matrix.include.iter().any(|rule| rule.names(&cell));
            if !excluded || included {
                cells.push((cell, model));
            }
        }
    }
    for rule in &matrix.exclude {
        let all =
            || matrix.models.iter().flat_map(|model| tasks(matrix).map(move |task| (model, task)));
        if !all().any(|(model, task)| rule.fits(&pair(model, task, &defaults), true)) {
            problems.push(no_cell(rule, "exclude", matrix));
        }
    }
    for rule in &matrix.include {
        let mut fits = false;
        for (cell, _) in cells.iter_mut().filter(|(cell, _)| rule.fits(cell, false)) {
            fits = true;
            if let Some(Value::Object(model)) = cell.context.get_mut("model") {
                model.extend(rule.values.clone());
            }
        }
        if !fits {
            problems.push(no_cell(rule, "include", matrix));
        }
    }
    for (index, (cell, model)) in cells.iter().enumerate() {
        let place = &model.node.place;
        let other = cells.iter().take(index).find(|(other, _)| other.id == cell.id);
        if let Some((_, other)) = other {
            let message = format!(
                "the cell `{}` of {} would be called the same; give one of the two another `id`",
                cell.id, other.node.place
            );
            problems.push(Problem::new(place, "model.id", message));
        }
        if cell.id.len() > LONGEST {
            let message = format!(
                "the name of its cell is longer than {LONGEST} bytes; give it a shorter `id`"
            );
            problems.push(Problem::new(place, "model.id", message));
        }
    }
    if cells.is_empty() && problems.is_empty() {
        let rule = matrix.exclude.first().map_or(&matrix.defaults.place, |rule| &rule.node.place);
        problems.push(Problem::new(rule, "exclude", "no cell is left"));
    }
    ConfigError::unless_empty(problems)?;
    Ok(cells.into_iter().map(|(cell, _)| cell).collect())
}

/// Those whose names are as one of the patterns says; all if there is none.
///
/// # Errors
/// None is left.
pub fn only(cells: Vec<Cell>, patterns: &[String]) -> Result<Vec<Cell>, SweepError> {
    let ids: Vec<String> = cells.iter().map(|cell| cell.id.clone()).collect();
    let wanted =
        |id: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, id));
    let left: Vec<Cell> = cells.into_iter().filter(|cell| wanted(&cell.id)).collect();
    if left.is_empty() {
        Err(SweepError::NoCell { only: patterns.to_vec(), ids })
    } else {
        Ok(left)
    }
}

/// The tasks, or once none.
fn tasks(matrix: &Matrix) -> impl Iterator<Item = Option<&Entry>> {
    let none = matrix.tasks.is_empty().then_some(None);
    matrix.tasks.iter().map(Some).chain(none)
}

fn pair(model: &Entry, task: Option<&Entry>, defaults: &Value) -> Cell {
    let named =
        |entry: &Entry| Some(safe(&entry.id)).filter(|id| !id.is_empty()).unwrap_or("-".to_owned());
    let id = match task {
        Some(task) => format!("{}--{}", named(model), named(task)),
        None => named(model),
    };
    let mut values: Map<String, Value> = defaults.as_object().cloned().unwrap_or_default();
    values.extend(model.values.clone());
    let mut context = json!({ "cell": id, "model": values });
    if let (Some(task), Some(context)) = (task, context.as_object_mut()) {
        context.insert("task".to_owned(), task.values.clone().into());
    }
    Cell { id, model: model.id.clone(), task: task.map(|task| task.id.clone()), context }
}

impl Rule {
    /// Whether it is about a cell: by its model and task, and with `by_values` by the model's values too.
    fn fits(&self, cell: &Cell, by_values: bool) -> bool {
        let is = |pattern: &Option<String>, id: Option<&str>| {
            pattern.as_deref().is_none_or(|pattern| id.is_some_and(|id| matches(pattern, id)))
        };
        let has = |(key, value): (&String, &Value)| match (value, &cell.context["model"][key]) {
            (Value::String(pattern), Value::String(text)) => matches(pattern, text),
            (wanted, found) => wanted == found,
        };
        is(&self.model, Some(&cell.model))
            && is(&self.task, cell.task.as_deref())
            && (!by_values || self.values.iter().all(has))
    }

    /// Whether it names this pair and no other: then it is there although it is excluded.
    fn names(&self, cell: &Cell) -> bool {
        self.model.as_deref() == Some(&cell.model) && self.task.is_some() && self.task == cell.task
    }
}

/// A rule that fits no cell is a slip that would cost, or spare, a run.
fn no_cell(rule: &Rule, key: &str, matrix: &Matrix) -> Problem {
    let ids = |entries: &[Entry]| entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>();
    let sides = [(&rule.model, ids(&matrix.models)), (&rule.task, ids(&matrix.tasks))];
    let hint = sides.into_iter().find_map(|(pattern, ids)| {
        let pattern = pattern.as_deref()?;
        let unknown = !ids.iter().any(|id| matches(pattern, id));
        let near = nearest(pattern, ids.iter().map(String::as_str));
        unknown.then_some(near?).map(|near| format!("did you mean `{near}`?"))
    });
    Problem::new(&rule.node.place, key, "fits no cell").maybe_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MODELS: &str = "[defaults]\nmax_tokens = 64\n[[model]]\nid = \"a/1\"\nkind = \"x\"\n[[model]]\nid = \"b\"\nmax_tokens = 9\n";
    const TASKS: &str = "[[task]]\nid = \"piqa\"\n[[task]]\nid = \"gsm8k\"\nfile = \"g.toml\"\n";

    fn of(text: &str) -> Result<Vec<Cell>, String> {
        let matrix = Matrix::parse(Path::new("m.toml"), text).map_err(|error| error.to_string())?;
        cells(&matrix).map_err(|error| error.to_string())
    }

    fn ids(text: &str) -> Vec<String> {
        of(text).unwrap().into_iter().map(|cell| cell.id).collect()
    }

    #[test]
    fn every_pair_is_a_cell_unless_it_is_left_out() {
        let table = [
            ("", vec!["a-1--piqa", "a-1--gsm8k", "b--piqa", "b--gsm8k"]),
            ("[[exclude]]\nmodel = \"a*\"\n", vec!["b--piqa", "b--gsm8k"]),
            (
                "[[exclude]]\nmodel = \"b\"\ntask = \"gsm8k\"\n",
                vec!["a-1--piqa", "a-1--gsm8k", "b--piqa"],
            ),
            (
                "[[exclude]]\nkind = \"x\"\ntask = \"?iqa\"\n",
                vec!["a-1--gsm8k", "b--piqa", "b--gsm8k"],
            ),
            ("[[exclude]]\nmax_tokens = 9\n", vec!["a-1--piqa", "a-1--gsm8k"]),
            (
                "[[exclude]]\nmodel = \"*\"\n[[include]]\nmodel = \"b\"\ntask = \"piqa\"\n",
                vec!["b--piqa"],
            ),
        ];
        for (rules, expected) in table {
            assert_eq!(ids(&format!("{MODELS}{TASKS}{rules}")), expected, "{rules}");
        }
        assert_eq!(ids(MODELS), ["a-1", "b"]);
    }

    #[test]
    fn a_model_has_the_defaults_its_own_and_what_is_included() {
        let text = format!("{MODELS}{TASKS}[[include]]\ntask = \"gsm8k\"\nmax_tokens = 512\n");
        let cells = of(&text).unwrap();
        let tokens: Vec<_> =
            cells.iter().map(|cell| &cell.context["model"]["max_tokens"]).collect();
        assert_eq!(tokens, [64, 512, 9, 512]);
        assert_eq!(
            cells[1].context["task"],
            json!({"file": "g.toml", "id": "gsm8k", "name": "gsm8k"})
        );
        assert_eq!(cells[1].context["cell"], "a-1--gsm8k");
        assert!(of(MODELS).unwrap()[0].context.get("task").is_none());
    }

    #[test]
    fn what_fits_nothing_or_clashes_is_told() {
        let long = format!("[[model]]\nid = \"{}\"\n", "x".repeat(201));
        let table = [
            ("[[exclude]]\nmodel = \"bb\"\n", "m.toml:14: exclude: fits no cell"),
            (
                "[[exclude]]\ntask = \"gsm8\"\n",
                "m.toml:14: exclude: fits no cell\n  hint: did you mean `gsm8k`?",
            ),
            ("[[include]]\nmodel = \"z\"\nx = 1\n", "m.toml:14: include: fits no cell"),
            ("[[exclude]]\nmodel = \"*\"\n", "m.toml:14: exclude: no cell is left"),
            (
                "[[model]]\nid = \"a 1\"\n",
                "m.toml:14: model.id: the cell `a-1--piqa` of m.toml:3 would be called",
            ),
            (long.as_str(), "m.toml:14: model.id: the name of its cell is longer than 200 bytes"),
        ];
        for (rules, expected) in table {
            let error = of(&format!("{MODELS}{TASKS}{rules}")).unwrap_err();
            assert!(error.starts_with(expected), "{rules}: {error}");
        }
    }

    #[test]
    fn only_those_that_are_wanted_are_left() {
        let cells = || of(&format!("{MODELS}{TASKS}")).unwrap();
        let wanted = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            only(cells(), &patterns).map(|cells| cells.len()).map_err(|error| error.to_string())
        };
        assert_eq!(wanted(&[]), Ok(4));
        assert_eq!(wanted(&["*--piqa"]), Ok(2));
        assert_eq!(wanted(&["b--*", "*--piqa"]), Ok(3));
        assert_eq!(
            wanted(&["c*"]).unwrap_err(),
            "--only c*: no cell is called so; there are: a-1--piqa, a-1--gsm8k, b--piqa, b--gsm8k"
        );
    }
}
