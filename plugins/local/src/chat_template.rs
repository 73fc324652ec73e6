//! Messages to prompt text, by the Jinja template that the model was trained with.
//!
//! The environment is the one of Hugging Face's `apply_chat_template`: `trim_blocks`, `lstrip_blocks`, loop controls,
//! `raise_exception`, Python's string methods, and the variables `messages`, `add_generation_prompt`, `bos_token`
//! and `eos_token`.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl ChatMessage {
    /// A message of that role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A chat template and the special tokens it may mention.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Takes a template; a token that the model lacks is the empty string.
    ///
    /// # Errors
    /// When the template does not parse.
    pub fn new(source: String, bos_token: String, eos_token: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment
            .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.template_from_str(&source)?;
        Ok(Self { environment, source, bos_token, eos_token })
    }

    /// The prompt text of a conversation, ending where the assistant would answer.
    ///
    /// # Errors
    /// When the template refuses the conversation, in its own words.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, Error> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => &message.role, content => &message.content })
            .collect();
        self.environment.template_from_str(&self.source)?.render(context! {
            messages,
            add_generation_prompt => true,
            bos_token => &self.bos_token,
            eos_token => &self.eos_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[(&str, &str)]) -> Result<String, Error> {
        let messages: Vec<ChatMessage> =
            messages.iter().map(|(role, content)| ChatMessage::new(*role, *content)).collect();
        ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned())?.render(&messages)
    }

    #[test]
    fn renders_as_hugging_face_does() {
        let table = [
            ("{% for m in messages %}[{{ m['role'] }}]{{ m.content }}{% endfor %}", "[user] hi "),
            (
                "{% for m in messages %}\n  {% if true %}\n{{ m.content.strip() }}\n{% endif %}\n{% endfor %}",
                "hi\n",
            ),
            (
                "{{ bos_token }}{{ messages[0]['content'].split('h')[1] }}{{ eos_token }}",
                "<s>i </s>",
            ),
            ("{% if add_generation_prompt %}go{% endif %}\n", "go"),
            ("{% for m in messages %}{% if loop.first %}{% break %}{% endif %}x{% endfor %}", ""),
        ];
        for (source, expected) in table {
            assert_eq!(render(source, &[("user", " hi ")]).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn a_refusal_keeps_the_templates_words() {
        let error =
            render("{{ raise_exception('roles must alternate') }}", &[("user", "hi")]).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"));
    }

    #[test]
    fn a_broken_template_is_refused_at_load() {
        assert!(ChatTemplate::new("{% if %}".to_owned(), String::new(), String::new()).is_err());
    }
}
