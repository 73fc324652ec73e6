//! The template of a sweep: a run file with Jinja placeholders. `{{ model.base_url }}` is the value as TOML writes it,
//! quotes and all; inside a text it is the characters of it. A name that does not exist is an error.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior,
    syntax::SyntaxConfig,
    value::{Serde, ValueKind},
};
use serde_json::Value;

use super::substitute::{MARK, substitute};
use crate::config::{ConfigError, Place, Problem, nearest};

/// Its name in the library.
const NAME: &str = "template";

/// What a template's own Jinja looks like to a sweep.
const RAW: &str = "what a task's own prompt shall keep goes between {% raw %} and {% endraw %}, or into a task file";

type Values = Arc<Mutex<Vec<Value>>>;

/// A template that can be rendered.
#[derive(Debug)]
pub struct Template {
    /// Where it is.
    pub path: PathBuf,
    /// BLAKE3 of its bytes, in hex.
    pub blake3: String,
    source: String,
    environment: Environment<'static>,
    /// The values that were put out since the last rendering began.
    values: Values,
    /// Dotted names that it looks up, whatever way it takes.
    names: BTreeSet<String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It cannot be read, or is no Jinja.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let source = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, source)
    }

    fn parse(path: &Path, source: String) -> Result<Self, ConfigError> {
        let values = Values::default();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        let kept = Arc::clone(&values);
        environment.set_formatter(move |out, _, value| {
            if value.kind() == ValueKind::Undefined {
                return Ok(());
            }
            let value = serde_json::to_value(value).map_err(|error| {
                minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())
            })?;
            let mut values = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let value = whole(value, &values);
            write!(out, "{MARK}{}{MARK}", values.len())?;
            values.push(value);
            Ok(())
        });
        let problem = |error: &minijinja::Error| {
            let place = Place::line(&path.into(), error.line().unwrap_or(1));
            ConfigError::Invalid(vec![Problem::new(&place, "", in_words(error))])
        };
        if let Some(at) = source.find(MARK) {
            let line = source.get(..at).unwrap_or_default().matches('\n').count() + 1;
            let place = Place::line(&path.into(), line);
            let message = "holds the control character U+0001, which TOML does not allow";
            return Err(ConfigError::Invalid(vec![Problem::new(&place, "", message)]));
        }
        // Line ends stay, also after a block: they are what ends a key in TOML.
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.map_err(|error| problem(&error))?);
        environment.add_template_owned(NAME, source.clone()).map_err(|error| problem(&error))?;
        let names = environment
            .get_template(NAME)
            .map_err(|error| problem(&error))?
            .undeclared_variables(true)
            .into_iter()
            .collect();
        let blake3 = blake3::hash(source.as_bytes()).to_hex().to_string();
        Ok(Self { path: path.to_owned(), blake3, source, environment, values, names })
    }

    /// Whether it may look up this key of a table (`model`, `task`).
    pub fn uses(&self, table: &str, key: &str) -> bool {
        let own = format!("{table}.{key}");
        self.names.iter().any(|name| {
            *name == table
                || *name == own
                || name.strip_prefix(&own).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// The run file that it stands for where its names mean this.
    ///
    /// # Errors
    /// A name that does not exist, or a value that cannot stand where it is.
    pub fn render(&self, context: &Value) -> Result<String, Problem> {
        let lock = || self.values.lock().unwrap_or_else(PoisonError::into_inner);
        lock().clear();
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render(minijinja::Value::from(Serde(context))))
            .map_err(|error| self.explain(&error, context))?;
        substitute(&rendered, &lock()).map_err(|wrong| {
            let line = rendered.lines().nth(wrong.line.saturating_sub(1)).unwrap_or_default();
            let shown = line.split(MARK).step_by(2).collect::<Vec<_>>().join("…");
            let message = format!("a placeholder in `{}`: {}", shown.trim(), wrong.message);
            Problem::new(&Place::line(&self.path.as_path().into(), self.line_of(line)), "", message)
        })
    }

    /// The line of the source that a rendered line most likely came from, from 1.
    fn line_of(&self, rendered: &str) -> usize {
        let start = rendered.split(MARK).next().unwrap_or_default();
        self.source
            .lines()
            .position(|line| line.starts_with(start) && line.contains("{{"))
            .unwrap_or(0)
            + 1
    }

    fn explain(&self, error: &minijinja::Error, context: &Value) -> Problem {
        let number = error.line().unwrap_or(1);
        let place = Place::line(&self.path.as_path().into(), number);
        if error.kind() != ErrorKind::UndefinedError {
            return Problem::new(&place, "", in_words(error));
        }
        let line = self.source.lines().nth(number.saturating_sub(1)).unwrap_or_default();
        let is_absent = |name: &&String| {
            context.pointer(&format!("/{}", name.replace('.', "/"))).is_none()
                && line.contains(name.as_str())
        };
        let Some(name) = self.names.iter().find(is_absent) else {
            return Problem::new(&place, "", in_words(error)).hint(RAW);
        };
        let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
        let known = match table {
            "" => context.as_object(),
            table => context.get(table).and_then(Value::as_object),
        };
        let near = nearest(key, known.into_iter().flatten().map(|(key, _)| key.as_str()));
        let hint = match near
            .map(|near| if table.is_empty() { near.to_owned() } else { format!("{table}.{near}") })
        {
            Some(near) => format!("did you mean `{near}`?"),
            None if name.contains('.') => format!(
                "give it in the matrix, or write `{{{{ {name} | default(…) }}}}` for where it is not given"
            ),
            None => RAW.to_owned(),
        };
        Problem::new(&place, "", format!("`{name}` is not defined")).hint(hint)
    }
}

/// A text that a template had put together from placeholders, with their values in place.
fn whole(value: Value, values: &[Value]) -> Value {
    let Value::String(text) = &value else { return value };
    if !text.contains(MARK) {
        return value;
    }
    let pieces = text.split(MARK).enumerate().map(|(index, piece)| {
        let marked = index % 2 == 1;
        match marked.then(|| values.get(piece.parse::<usize>().ok()?)).flatten() {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => piece.to_owned(),
        }
    });
    Value::String(pieces.collect())
}

fn in_words(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str) -> Result<String, String> {
        let template = Template::parse(Path::new("t.toml"), source.to_owned())
            .map_err(|error| error.to_string())?;
        let context = json!({
            "cell": "m--t",
            "model": { "id": "m", "base_url": "mock:tgi", "stop": ["\n\n"], "temperature": 0.0 },
        });
        template.render(&context).map_err(|problem| problem.to_string())
    }

    #[test]
    fn placeholders_are_values_and_everything_else_stays() {
        let table = [
            ("a = {{ model.base_url }} # ${HOME}\n", "a = \"mock:tgi\" # ${HOME}\n"),
            ("a = \"x/{{ model.id }}\"\n", "a = \"x/m\"\n"),
            ("a = {{ 'x/' ~ model.id }}\n", "a = \"x/m\"\n"),
            ("a = {{ model.stop }}\n", "a = [\"\\n\\n\"]\n"),
            ("a = {{ model.temperature }}\n", "a = 0.0\n"),
            ("a = {{ model.top_p | default(0.9) }}\n", "a = 0.9\n"),
            ("{% if model.top_p is defined %}\na = 1\n{% endif %}\nb = 2\n", "\nb = 2\n"),
            (
                "{% set url %}{{ model.base_url }}/v1{% endset %}\na = {{ url }}\n",
                "\na = \"mock:tgi/v1\"\n",
            ),
            ("a = {% raw %}\"{{ q }}\"{% endraw %}\n", "a = \"{{ q }}\"\n"),
            ("a = [{% for s in model.stop %}{{ s }}, {% endfor %}]\n", "a = [\"\\n\\n\", ]\n"),
            ("{{ cell }} = {{ {'a': model.id} }}\n", "\"m--t\" = { a = \"m\" }\n"),
        ];
        for (source, expected) in table {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn a_mistake_names_its_line_and_the_way_out() {
        let table = [
            (
                "a = 1\nb = {{ model.base_ur }}\n",
                "t.toml:2: `model.base_ur` is not defined\n  hint: did you mean `model.base_url`?",
            ),
            (
                "b = {{ model.zzz }}\n",
                "t.toml:1: `model.zzz` is not defined\n  hint: give it in the matrix, or write \
                 `{{ model.zzz | default(…) }}` for where it is not given",
            ),
            (
                "a = 1\nb = \"{{ q }}\"\n",
                "t.toml:2: `q` is not defined\n  hint: what a task's own prompt",
            ),
            ("a = 1\nb = {{ model. }}\n", "t.toml:2: syntax error"),
            (
                "a = 1\nb = \"{{ model.stop }}\"\n",
                "t.toml:2: a placeholder in `b = \"…\"`: a list or a table",
            ),
            ("a = \u{1}\n", "t.toml:1: holds the control character"),
        ];
        for (source, expected) in table {
            let error = render(source).unwrap_err();
            assert!(error.starts_with(expected), "{source}: {error}");
        }
    }

    #[test]
    fn it_is_known_which_keys_are_used() {
        let uses = |source: &str, key: &str| {
            Template::parse(Path::new("t.toml"), source.to_owned()).unwrap().uses("model", key)
        };
        assert!(uses("a = {{ model.stop }}", "stop"));
        assert!(uses("{% if model.stop.x %}{% endif %}", "stop"));
        assert!(uses("a = {{ model }}", "stop"));
        assert!(uses("{% for k in model %}{% endfor %}", "stop"));
        assert!(!uses("a = {{ model.stop_at }}", "stop"));
        assert!(!uses("a = {{ task.stop }}", "stop"));
    }
}
