//! The body of a request as a Jinja template that renders to JSON.
//!
//! Knows the names that a template may use, not where their values come from. A template sees no secret, reads no
//! file and is bounded in time and memory, so that a mistake in it costs a message and not the host.

use std::collections::BTreeSet;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, value::Kwargs};
use plugin_api::Result;
use serde::de::IgnoredAny;

use crate::extract::wrong;

/// The key that holds the template, in messages.
pub const KEY: &str = "generate.body";

/// Names that a template may use.
pub const VARIABLES: [&str; 16] = [
    "prompt",
    "messages",
    "system",
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "n",
    "logprobs",
    "stream",
    "extra",
    "request_id",
    "attempt",
];

/// Jinja's own functions that a template may call.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// What one rendering may cost: an instruction costs 1, a byte of text 1/64 each time that it is handled. So no
/// prompt is too long for it, and an endless loop ends in about a second.
const FUEL: u64 = 10_000_000;

/// Longest body, in bytes.
const MAX_BODY: usize = 64 << 20;

/// Longest part of a rendered line that a message shows, in characters.
const SHOWN: usize = 120;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    /// Dotted names that occur in it: `temperature`, `extra.min_p`.
    mentioned: BTreeSet<String>,
}

/// Why a template gave no body.
#[derive(Debug)]
pub struct RenderError {
    /// Whether a name in it has no value in this request.
    pub undefined: bool,
    /// What happened and in which line, for a person.
    pub message: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// It does not parse, or uses a name that is never defined.
    pub fn compile(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("tojson", strict_json);
        environment
            .add_template_owned(KEY, source.to_owned())
            .map_err(|error| wrong(KEY, explain(&error)))?;
        let template =
            environment.get_template(KEY).map_err(|error| wrong(KEY, explain(&error)))?;
        let mentioned: BTreeSet<_> = template.undeclared_variables(true).into_iter().collect();
        let unknown = mentioned
            .iter()
            .map(|name| root(name))
            .find(|name| !VARIABLES.contains(name) && !FUNCTIONS.contains(name));
        if let Some(name) = unknown {
            let known = VARIABLES.join(", ");
            return Err(wrong(KEY, format_args!("`{name}` is no variable; there are: {known}")));
        }
        Ok(Self { environment, mentioned })
    }

    /// Whether the variable occurs, taken or not by the branches of a rendering.
    pub fn mentions(&self, variable: &str) -> bool {
        self.mentioned.iter().any(|name| root(name) == variable)
    }

    /// Whether the parameter of the vendor's own occurs, or all of them do.
    pub fn mentions_extra(&self, parameter: &str) -> bool {
        self.mentioned.iter().any(|name| match name.strip_prefix("extra") {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|rest| root(rest) == parameter),
            None => false,
        })
    }

    /// The body for these variables.
    ///
    /// # Errors
    /// A name has no value, the template refuses, costs too much, or what it renders is no JSON.
    pub fn render(&self, variables: Value) -> std::result::Result<String, RenderError> {
        let failed = |error: minijinja::Error| RenderError {
            undefined: error.kind() == ErrorKind::UndefinedError,
            message: explain(&error),
        };
        let template = self.environment.get_template(KEY).map_err(failed)?;
        let body = template.render(variables).map_err(failed)?;
        let problem = if body.len() > MAX_BODY {
            format!("the rendered body has {} bytes, more than {MAX_BODY}", body.len())
        } else {
            match serde_json::from_str::<IgnoredAny>(&body) {
                Ok(_) => return Ok(body),
                Err(error) => no_json(&body, &error),
            }
        };
        Err(RenderError { undefined: false, message: problem })
    }
}

/// `tojson`, which by itself would write null for a name without a value.
fn strict_json(
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> std::result::Result<Value, minijinja::Error> {
    if value.is_undefined() {
        let message = "`tojson` is given a name that has no value";
        return Err(minijinja::Error::new(ErrorKind::UndefinedError, message));
    }
    minijinja::filters::tojson(value, indent, options)
}

/// The first name of a dotted one.
fn root(name: &str) -> &str {
    name.split_once('.').map_or(name, |(root, _)| root)
}

/// What is wrong with a template, with the line of it.
fn explain(error: &minijinja::Error) -> String {
    let mut message = error.line().map_or_else(String::new, |line| format!("line {line}: "));
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, None) => message.push_str("a name in it has no value"),
        (ErrorKind::OutOfFuel, _) => message.push_str("it takes too long or grows too large"),
        (kind, None) => message.push_str(&kind.to_string()),
        (kind, Some(detail)) => message.push_str(&format!("{kind}: {detail}")),
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    message
}

/// Where a rendered body stops being JSON, with the line as it was rendered.
fn no_json(body: &str, error: &serde_json::Error) -> String {
    let line = body.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().trim();
    let shown: String = line.chars().take(SHOWN).collect();
    let more = if shown.len() < line.len() { "…" } else { "" };
    format!(
        "line {} of the rendered body is not JSON ({error}): {shown}{more} (texts, truth values and what \
         may be none go through `tojson`, without quotes around: {{{{ prompt | tojson }}}})",
        error.line()
    )
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn template(source: &str) -> Template {
        Template::compile(source).unwrap()
    }

    #[test]
    fn texts_come_out_as_json_whatever_they_hold() {
        let body = template(r#"{"prompt": {{ prompt | tojson }}}"#);
        for prompt in ["a\"b", "line\nbreak", "</script>&'", "{{ model }}", "é\u{0}\u{1f600}"] {
            let rendered = body.render(context! { prompt }).unwrap();
            let value: serde_json::Value = serde_json::from_str(&rendered).unwrap();
            assert_eq!(value["prompt"], prompt);
        }
    }

    #[test]
    fn what_is_no_json_is_said_with_line_and_text() {
        for (source, line, shows) in [
            ("{\n\"prompt\": \"{{ prompt }}\"}", "line 2 ", "\"prompt\": \"a"),
            ("{\"max_tokens\":\n{{ max_tokens }}}", "line 2 ", "None}"),
            ("{\"a\": 1,}", "line 1 ", "{\"a\": 1,}"),
            ("", "line 1 ", "EOF"),
        ] {
            let variables = context! { prompt => "a\nb", max_tokens => () };
            let error = template(source).render(variables).unwrap_err();
            assert!(error.message.starts_with(line), "{}", error.message);
            assert!(error.message.contains(shows), "{}", error.message);
            assert!(!error.undefined);
        }
    }

    #[test]
    fn a_name_that_no_request_has_is_refused_at_once() {
        let refused = |source: &str| Template::compile(source).unwrap_err().message;
        assert!(refused("{{ temprature }}").contains("`temprature` is no variable"));
        assert!(refused("{{ secret('api_key') }}").contains("`secret`"));
        assert!(refused("{{ debug() }}").contains("`debug`"));
        assert!(refused("{\n{% if %}").starts_with("generate.body: line 2"));
        template(
            "{% set x = range(3) %}{% for m in messages %}{{ loop.index }}{{ m.role }}{{ x }}{% endfor %}",
        );
    }

    #[test]
    fn a_name_without_a_value_is_told_apart() {
        for source in ["[\n{{ extra.min_p }}]", "[\n{{ extra.min_p | tojson }}]"] {
            let body = template(source);
            let error = body.render(context! { extra => context! {} }).unwrap_err();
            assert!(error.undefined);
            assert!(error.message.starts_with("line 2"), "{}", error.message);
            let given = context! { extra => context! { min_p => 0.5 } };
            assert_eq!(body.render(given).unwrap(), "[\n0.5]");
        }
    }

    #[test]
    fn what_a_template_mentions_is_known() {
        let body = template(
            "{% if seed is not none %}{{ temperature }}{% endif %}{{ extra.min_p }}{% set top_k = 1 %}{{ top_k }}",
        );
        for (name, mentioned) in
            [("seed", true), ("temperature", true), ("top_p", false), ("top_k", false)]
        {
            assert_eq!(body.mentions(name), mentioned, "{name}");
        }
        assert!(body.mentions_extra("min_p"));
        assert!(!body.mentions_extra("min"));
        for all in
            ["{{ extra | tojson }}", "{{ extra['min_p'] }}", "{% for k in extra %}{% endfor %}"]
        {
            assert!(template(all).mentions_extra("anything"), "{all}");
        }
    }

    #[test]
    fn a_template_that_would_never_end_is_stopped() {
        for source in [
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        ] {
            // Macros are a feature that another crate of the build may turn on.
            if let Ok(body) = Template::compile(source) {
                assert!(body.render(context! {}).is_err(), "{source}");
            }
        }
    }
}
