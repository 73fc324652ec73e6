//! Puts question, examples and system prompt together as text or as a chat.
//!
//! Gets rendered texts and knows nothing of records or templates. The assembly is that of
//! lm-evaluation-harness (`build_qa_turn`, `multiturn_to_singleturn`), so that prompts are equal to
//! its prompts byte for byte.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::boundary::{ends_in_space, join_with_space};
use super::raw::PromptFormat;

/// What is sent to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// One text; a generation prefix is its end.
    Text(String),
    /// Messages of a chat.
    Chat(Chat),
}

/// Messages of a chat; the last is the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chat {
    /// The messages in order.
    pub messages: Vec<Message>,
    /// The beginning of the reply, which the model is to continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_prefix: Option<String>,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// Who speaks in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// How prompts of a task are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Text or chat.
    pub format: PromptFormat,
    /// What stands between question and answer, where the task says it.
    pub target_delimiter: Option<String>,
    /// What stands after each example in a text.
    pub separator: String,
    /// In a chat: each example as two messages.
    pub as_turns: bool,
}

/// The rendered parts of a question, and of its answer where it is an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The question.
    pub question: String,
    /// The beginning of the reply; empty is none.
    pub generation_prefix: String,
    /// The answer; empty is none.
    pub answer: String,
}

const DEFAULT_DELIMITER: &str = " ";

impl Turn {
    /// Whether it is a question and nothing else.
    fn is_bare(&self) -> bool {
        self.generation_prefix.is_empty() && self.answer.is_empty()
    }
}

impl Layout {
    /// What stands between a prompt and the option whose likelihood is asked for.
    #[must_use]
    pub fn continuation_delimiter(&self, generation_prefix: &str) -> &str {
        match (&self.target_delimiter, self.format) {
            (Some(delimiter), _) => delimiter,
            (None, PromptFormat::Text) => DEFAULT_DELIMITER,
            (None, PromptFormat::Chat)
                if generation_prefix.is_empty() || ends_in_space(generation_prefix) =>
            {
                ""
            }
            (None, PromptFormat::Chat) => DEFAULT_DELIMITER,
        }
    }

    /// The prompt of `question` after the solved examples. An empty system prompt is none.
    #[must_use]
    pub fn assemble(&self, system: String, examples: &[Turn], question: Turn) -> Prompt {
        match self.format {
            PromptFormat::Text => {
                let mut text = system;
                examples.iter().for_each(|example| self.put(example, &mut text));
                if text.is_empty() && question.is_bare() {
                    return Prompt::Text(question.question);
                }
                self.put(&question, &mut text);
                Prompt::Text(text)
            }
            PromptFormat::Chat => Prompt::Chat(self.as_chat(system, examples, question)),
        }
    }

    fn as_chat(&self, system: String, examples: &[Turn], question: Turn) -> Chat {
        let message = |role, text| Message { role, text };
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(message(Role::System, system));
        }
        let delimiter = self.inner_delimiter(&question);
        let Turn { question, generation_prefix, .. } = question;
        if self.as_turns {
            for example in examples {
                messages.push(message(Role::User, example.question.clone()));
                let reply = join_with_space(&example.generation_prefix, &example.answer);
                messages.push(message(Role::Assistant, reply));
            }
            messages.push(message(Role::User, question));
        } else {
            let mut shown = String::new();
            examples.iter().for_each(|example| self.put(example, &mut shown));
            let mut shown = if shown.is_empty() { question } else { shown + &question };
            // The prefix is a message of its own, but the delimiter before it stays with the question.
            shown.push_str(delimiter);
            messages.push(message(Role::User, shown));
        }
        let generation_prefix = Some(generation_prefix).filter(|prefix| !prefix.is_empty());
        Chat { messages, generation_prefix }
    }

    fn put(&self, turn: &Turn, text: &mut String) {
        text.push_str(&turn.question);
        text.push_str(self.inner_delimiter(turn));
        text.push_str(&join_with_space(&turn.generation_prefix, &turn.answer));
        if !turn.answer.is_empty() {
            text.push_str(&self.separator);
        }
    }

    /// What stands between a question and what follows it in the same text.
    fn inner_delimiter(&self, turn: &Turn) -> &str {
        let prefix = &turn.generation_prefix;
        let needed = if prefix.is_empty() {
            !turn.answer.is_empty()
        } else {
            !turn.question.is_empty()
                && !ends_in_space(&turn.question)
                && !prefix.starts_with(super::boundary::is_space)
        };
        if needed { self.target_delimiter.as_deref().unwrap_or(DEFAULT_DELIMITER) } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(format: PromptFormat, as_turns: bool) -> Layout {
        Layout { format, target_delimiter: None, separator: "\n\n".to_owned(), as_turns }
    }

    fn turn(question: &str, prefix: &str, answer: &str) -> Turn {
        Turn { question: question.into(), generation_prefix: prefix.into(), answer: answer.into() }
    }

    fn show(prompt: Prompt) -> String {
        match prompt {
            Prompt::Text(text) => text,
            Prompt::Chat(chat) => {
                let mut lines: Vec<String> =
                    chat.messages.iter().map(|m| format!("{:?}:{}", m.role, m.text)).collect();
                lines.extend(chat.generation_prefix.map(|prefix| format!("+{prefix}")));
                lines.join("|")
            }
        }
    }

    #[test]
    fn prompts_are_put_together_as_lm_eval_does() {
        use PromptFormat::{Chat, Text};
        let shots = |prefix| [turn("Q: 1\nA:", prefix, "x"), turn("Q: 2\nA:", prefix, "y")];
        let table = [
            (Text, false, "", "Q: 1\nA: x\n\nQ: 2\nA: y\n\nQ: 3\nA:"),
            (Text, false, "It is", "Q: 1\nA: It is x\n\nQ: 2\nA: It is y\n\nQ: 3\nA: It is"),
            (Chat, true, "", "User:Q: 1\nA:|Assistant:x|User:Q: 2\nA:|Assistant:y|User:Q: 3\nA:"),
            (
                Chat,
                true,
                "So ",
                "User:Q: 1\nA:|Assistant:So x|User:Q: 2\nA:|Assistant:So y|User:Q: 3\nA:|+So ",
            ),
            (Chat, false, "", "User:Q: 1\nA: x\n\nQ: 2\nA: y\n\nQ: 3\nA:"),
            (Chat, false, "So", "User:Q: 1\nA: So x\n\nQ: 2\nA: So y\n\nQ: 3\nA: |+So"),
        ];
        for (format, as_turns, prefix, expected) in table {
            let prompt = layout(format, as_turns).assemble(
                String::new(),
                &shots(prefix),
                turn("Q: 3\nA:", prefix, ""),
            );
            assert_eq!(show(prompt), expected);
        }
    }

    #[test]
    fn a_system_prompt_stands_first() {
        let question = || turn("Q", "", "");
        let text =
            layout(PromptFormat::Text, false).assemble("Be brief.\n\n".into(), &[], question());
        assert_eq!(show(text), "Be brief.\n\nQ");
        let chat = layout(PromptFormat::Chat, true).assemble("Be brief.".into(), &[], question());
        assert_eq!(show(chat), "System:Be brief.|User:Q");
    }

    #[test]
    fn the_delimiter_before_an_option_depends_on_the_prompt() {
        let table = [
            (PromptFormat::Text, "", " "),
            (PromptFormat::Chat, "", ""),
            (PromptFormat::Chat, "It is", " "),
            (PromptFormat::Chat, "It is ", ""),
        ];
        for (format, prefix, delimiter) in table {
            assert_eq!(layout(format, true).continuation_delimiter(prefix), delimiter);
        }
        let own =
            Layout { target_delimiter: Some("\n".into()), ..layout(PromptFormat::Chat, true) };
        assert_eq!(own.continuation_delimiter(""), "\n");
    }
}
