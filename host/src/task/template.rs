//! Jinja templates over the fields of a record.
//!
//! Knows text and JSON only, not what a template is for. Nothing is trimmed: a template's spaces
//! and line ends are part of the prompt. Names that do not exist are errors, since a prompt with a
//! hole in it would be scored as if it were whole.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::plain::{Plain, is_field};
use super::raw::Record;

/// How many of a record's fields an error names.
const MOST_FIELDS: usize = 12;

/// A template that cannot be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}`{}: {message}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct TemplateError {
    /// The key of the task file that holds the template.
    pub template: String,
    /// Line in the template, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl TemplateError {
    fn new(template: &str, error: &minijinja::Error) -> Self {
        let mut message = match (error.kind(), error.detail()) {
            (ErrorKind::UndefinedError, None) => "a name in it is not defined".to_owned(),
            (kind, None) => kind.to_string(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
        };
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            message.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        Self { template: template.to_owned(), line: error.line(), message }
    }

    fn undefined(template: &str, expression: &str) -> Self {
        let message = format!("`{expression}` is not defined");
        Self { template: template.to_owned(), line: None, message }
    }
}

/// The names that a template sees: the record's fields, and `doc` for the whole record.
#[derive(Clone, Debug)]
pub struct Context<'r> {
    record: &'r Record,
    /// The record's, as the engine wants them; made when it is first of use.
    fields: OnceCell<Vec<(String, Value)>>,
    added: Vec<(String, Value)>,
}

impl<'r> Context<'r> {
    /// The names for one record.
    #[must_use]
    pub fn new(record: &'r Record) -> Self {
        Self { record, fields: OnceCell::new(), added: Vec::new() }
    }

    /// Adds a name unless there is one already.
    pub fn add(&mut self, name: &str, value: Value) {
        let added = self.added.iter().any(|(known, _)| known == name);
        if name != "doc" && !added && !self.record.contains_key(name) {
            self.added.push((name.to_owned(), value));
        }
    }

    fn value(&self) -> Value {
        let fields = self.fields.get_or_init(|| {
            let fields = self.record.iter().filter(|(name, _)| *name != "doc");
            let fields = fields.map(|(name, value)| (name.clone(), Value::from(Serde(value))));
            fields.chain([("doc".to_owned(), Value::from(Serde(self.record)))]).collect()
        });
        Value::from_pairs(fields.iter().chain(&self.added).cloned())
    }

    /// Whether there is what a dotted name begins with; of `doc` also what follows.
    fn has(&self, name: &str) -> bool {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        match first {
            "doc" => rest
                .split('.')
                .next()
                .is_none_or(|field| field.is_empty() || self.record.contains_key(field)),
            _ => {
                self.record.contains_key(first)
                    || self.added.iter().any(|(known, _)| known == first)
            }
        }
    }

    /// That names are missing, and what there is instead; none if none is.
    fn lacks(&self, mut missing: Vec<String>) -> Option<String> {
        missing.sort_unstable();
        let quoted = |names: &[String]| {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let what = match missing.as_slice() {
            [] => return None,
            [_] => format!("{} is not defined", quoted(&missing)),
            _ => format!("not defined: {}", quoted(&missing)),
        };
        let fields: Vec<_> = self.record.keys().take(MOST_FIELDS).cloned().collect();
        let more = if self.record.len() > fields.len() { ", …" } else { "" };
        Some(format!("{what}; the record has {}{more}", quoted(&fields)))
    }

    /// The field of the record that an expression names, if it is nothing but a name: most targets are.
    fn field(&self, expression: &str) -> Option<&'r serde_json::Value> {
        if is_field(expression) { self.record.get(expression) } else { None }
    }
}

/// Compiled templates of a task, by the key that holds them.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Arc<Environment<'static>>,
    /// Those that need no engine.
    plain: Arc<HashMap<String, Plain>>,
}

impl Templates {
    /// Compiles templates, given as (key, source).
    ///
    /// # Errors
    /// [`TemplateError`] with the line of the first mistake.
    pub fn compile<'a>(
        sources: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .map_err(|error| TemplateError::new("syntax", &error))?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(python_method);
        // Python prints True, False and None, and prompts that were written for it count on that.
        environment.set_formatter(|out, state, value| {
            if value.kind() == ValueKind::Bool {
                return Ok(out.write_str(if value.is_true() { "True" } else { "False" })?);
            }
            if value.is_none() {
                return Ok(out.write_str("None")?);
            }
            minijinja::escape_formatter(out, state, value)
        });
        let mut plain = HashMap::new();
        for (key, source) in sources {
            plain.extend(Plain::new(source).map(|plain| (key.to_owned(), plain)));
            environment
                .add_template_owned(key.to_owned(), source.to_owned())
                .map_err(|error| TemplateError::new(key, &error))?;
        }
        Ok(Self { environment: Arc::new(environment), plain: Arc::new(plain) })
    }

    /// Renders the template of a key.
    ///
    /// # Errors
    /// [`TemplateError`] with the line, for example when a name is not defined.
    pub fn render(&self, key: &str, context: &Context<'_>) -> Result<String, TemplateError> {
        if let Some(text) = self.plain.get(key).and_then(|plain| plain.render(context.record)) {
            return Ok(text);
        }
        self.by_engine(key, context)
    }

    fn by_engine(&self, key: &str, context: &Context<'_>) -> Result<String, TemplateError> {
        let explain = |error: minijinja::Error| TemplateError::new(key, &error);
        let template = self.environment.get_template(key).map_err(explain)?;
        template.render(context.value()).map_err(|error| {
            let mut explained = TemplateError::new(key, &error);
            if error.kind() == ErrorKind::UndefinedError {
                // Where the engine names what failed, the others may be missing on purpose.
                let is_named = |name: &String| {
                    error.detail().is_none_or(|said| said.contains(&format!("`{name}`")))
                };
                let is_global =
                    |name: &str| self.environment.globals().any(|(known, _)| known == name);
                let names = template.undeclared_variables(true).into_iter();
                let missing = names
                    .filter(|name| !is_global(name) && !context.has(name) && is_named(name))
                    .collect();
                explained.message = context.lacks(missing).unwrap_or(explained.message);
            }
            explained
        })
    }

    /// Checks that an expression, such as `choices.text`, can be compiled.
    ///
    /// # Errors
    /// [`TemplateError`] when it cannot.
    pub fn check_expression(&self, key: &str, expression: &str) -> Result<(), TemplateError> {
        self.environment
            .compile_expression_owned(expression.to_owned())
            .map(drop)
            .map_err(|error| TemplateError::new(key, &error))
    }

    /// The value of an expression, as JSON.
    ///
    /// # Errors
    /// [`TemplateError`] when it fails or its value is not defined.
    pub fn evaluate(
        &self,
        key: &str,
        expression: &str,
        context: &Context<'_>,
    ) -> Result<serde_json::Value, TemplateError> {
        if let Some(value) = context.field(expression) {
            return Ok(value.clone());
        }
        let explain = |error: minijinja::Error| TemplateError::new(key, &error);
        let value = self
            .environment
            .compile_expression_owned(expression.to_owned())
            .map_err(explain)?
            .eval(context.value())
            .map_err(explain)?;
        if value.is_undefined() {
            return Err(TemplateError::undefined(key, expression));
        }
        serde_json::to_value(&value).map_err(|error| TemplateError {
            template: key.to_owned(),
            line: None,
            message: error.to_string(),
        })
    }
}

/// A method of a Python object. Lists lack `index` in the library, and targets such as
/// `['A', 'B'].index(answer)` are common.
fn python_method(
    state: &mut minijinja::State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, minijinja::Error> {
    if let ("index", ValueKind::Seq, [wanted]) = (method, value.kind(), arguments) {
        return match value.try_iter()?.position(|item| item == *wanted) {
            Some(index) => Ok(Value::from(index)),
            None => {
                let message = format!("{wanted} is not in the list {value}");
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            }
        };
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// The expression of a template that is nothing but one `{{ expression }}`.
#[must_use]
pub fn sole_expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let plain = !["{{", "}}", "{%", "{#"].iter().any(|mark| inner.contains(mark));
    plain.then(|| inner.trim_matches('-').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, record: serde_json::Value) -> Result<String, TemplateError> {
        let templates = Templates::compile([("user", template)])?;
        templates.render("user", &Context::new(record.as_object().unwrap()))
    }

    #[test]
    fn renders_as_the_python_library_does() {
        let record = || serde_json::json!({"goal": " a <b> ", "n": 3, "f": 1.5, "yes": true, "none": null, "list": ["x", "y"]});
        let table = [
            ("{{ goal }}\n", " a <b> \n"),
            ("{{ goal.strip() }}{{ list[-1] }}", "a <b>y"),
            ("{{ 'p #### 18'.split('####')[-1].strip() }}", "18"),
            ("{{ ['A', 'B'].index('B') }}", "1"),
            ("{{ {'yes': 1}.get('yes') }} {{ goal.replace('a', 'b').title() }}", "1  B <B> "),
            ("{{ n }} {{ f }} {{ yes }} {{ none }}", "3 1.5 True None"),
            ("{% if yes %}\nk\n{% endif %}\n", "\nk\n\n"),
            ("{{ doc.goal }}{{ doc['n'] }}", " a <b> 3"),
            ("{{ list | join(', ') }} {{ goal.upper() }}", "x, y  A <B> "),
        ];
        for (template, expected) in table {
            assert_eq!(render(template, record()).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_name_that_is_missing_is_told_with_those_that_are_there() {
        let record = || serde_json::json!({"goal": "a", "n": {"m": 1}});
        for (template, expected) in [
            ("{{ q | upper }}", "`q` is not defined; the record has `goal`, `n`"),
            (
                "{{ doc.q }}{{ range(2) | join }}",
                "`doc.q` is not defined; the record has `goal`, `n`",
            ),
            ("{{ goal }}\n{{ q }}{{ a.b }}", "`q` is not defined; the record has `goal`, `n`"),
            ("{{ h | default('') }}{{ n.x }}", "undefined value: `n.x` is undefined"),
            ("{{ n.x }}", "undefined value: `n.x` is undefined"),
        ] {
            let error = render(template, record()).unwrap_err();
            assert_eq!(error.message, expected, "{template}");
        }
        let many: serde_json::Map<_, _> =
            (0..20).map(|number| (format!("f{number:02}"), number.into())).collect();
        let error = render("{{ q }}", many.into()).unwrap_err();
        assert!(error.message.ends_with("`f10`, `f11`, …"), "{error}");
    }

    #[test]
    fn what_needs_no_engine_is_as_the_engine_makes_it() {
        let record = serde_json::json!({
            "q": "a {{ b }}\n", "_x1": "<&>", "n": 1.0, "no": null, "self": "s", "loop": "l", "range": "r", "é": "e",
            "doc": "d", "in": "i", "raw": "", "l": ["x"],
        });
        let context = Context::new(record.as_object().unwrap());
        let pieces = [
            "{{ q }}",
            "{{q}}",
            "{{ _x1\n}}",
            "{{\tq }}",
            "{{ n }}",
            "{{ no }}",
            "{{ self }}",
            "{{ loop }}",
            "{{ super }}",
            "{{ else }}",
            "{{ range }}",
            "{{ é }}",
            "{{ doc }}",
            "{{ in }}",
            "{{ raw }}",
            "{{ l }}",
            "{{ gone }}",
            "{{- q }}",
            "{{ q -}}",
            "{{+ q }}",
            "{{ q | upper }}",
            "{{ q.x }}",
            "{{ 'q' }}",
            "{{ '}}' }}",
            "{{ q q }}",
            "{{ }}",
            "{{ 1 }}",
            "{{ true }}",
            "{# q #}",
            "{% raw %}{{ q }}{% endraw %}",
            "{{ q",
            "}}",
            "{",
            "}",
            "{{{ q }}}",
            "{ { q } }",
            "text",
            " ",
            "\n",
            "\r\n",
            "\u{a0}",
            "{{\u{a0}q }}",
            "{{\rq }}",
            "{{\u{b}q }}",
            "{{\u{c}q }}",
            "-",
            "#}",
            "%}",
            "ü",
            "",
        ];
        let mut plain = 0;
        for first in pieces {
            for second in pieces {
                let source = format!("{first}{second}");
                let Ok(templates) = Templates::compile([("user", source.as_str())]) else {
                    continue;
                };
                let by_engine = templates.by_engine("user", &context);
                assert_eq!(templates.render("user", &context), by_engine, "{source:?}");
                plain += usize::from(templates.plain.contains_key("user"));
            }
        }
        assert!(plain > 100, "{plain}");
    }

    #[test]
    fn a_missing_name_is_an_error_with_its_line() {
        let error = render("a\n{{ gaol }}", serde_json::json!({"goal": 1})).unwrap_err();
        assert_eq!((error.template.as_str(), error.line), ("user", Some(2)));
        let error = render("{% if gaol %}x{% endif %}", serde_json::json!({})).unwrap_err();
        assert_eq!(error.line, Some(1));
    }

    #[test]
    fn a_mistake_is_found_before_any_record_is_read() {
        let error = Templates::compile([("system", "ok"), ("user", "\n\n{% if %}")]).unwrap_err();
        assert_eq!((error.template.as_str(), error.line), ("user", Some(3)));
    }

    #[test]
    fn an_expression_keeps_its_type() {
        let templates = Templates::compile([]).unwrap();
        let record = serde_json::json!({"choices": {"text": ["a", "b"]}, "label": 1});
        let context = Context::new(record.as_object().unwrap());
        let list = templates.evaluate("field", "choices.text", &context).unwrap();
        assert_eq!(list, serde_json::json!(["a", "b"]));
        assert_eq!(templates.evaluate("target", "label", &context).unwrap(), serde_json::json!(1));
        assert!(templates.evaluate("field", "choices.label", &context).is_err());
        assert!(templates.evaluate("field", "nothing", &context).is_err());
        // A name of the language is not a field of that name.
        let record = serde_json::json!({"true": "yes", "doc": 1, "not": 2});
        let context = Context::new(record.as_object().unwrap());
        let evaluated = |name| templates.evaluate("field", name, &context).ok();
        assert_eq!(evaluated("true"), Some(serde_json::json!(true)));
        assert_eq!(evaluated("doc"), Some(record.clone()));
        assert_eq!(evaluated("not"), None);
    }

    #[test]
    fn sole_expressions_are_told_from_templates() {
        let table = [
            ("{{ label }}", Some("label")),
            (" {{- a.b -}} ", Some("a.b")),
            ("{{a}}{{b}}", None),
            ("x{{a}}", None),
        ];
        for (template, expected) in table {
            assert_eq!(sole_expression(template), expected);
        }
    }
}
