//! One loaded model: weights, tokenizer and chat template, shared by every session.
//!
//! Immutable after loading. Whatever changes while working (a cache, a sampler) belongs to the work, so any number
//! of sessions may use one engine from different threads.

use std::path::Path;

use crate::chat_template::{ChatMessage, ChatTemplate};
use crate::gguf::{GgufFile, LoadError};
use crate::tokenizer::{TokenizeError, Tokenizer};
use crate::weights::Weights;

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request needs more tokens than the model has positions.
    #[error(
        "the request needs {needed_tokens} tokens, but the model's context holds {limit_tokens}; shorten it"
    )]
    ContextLength {
        /// Tokens that would have to be seen at once.
        needed_tokens: usize,
        /// The model's context length.
        limit_tokens: usize,
    },
    /// A continuation comes to no token at all.
    #[error("continuation {index} comes to zero tokens, which has no likelihood")]
    EmptyContinuation {
        /// Its place in the request.
        index: usize,
    },
    /// The prompt is empty and the model has neither BOS nor EOS to stand in for it.
    #[error(
        "the prompt is empty and the model has no BOS or EOS token to condition on; give a prompt"
    )]
    NoPrefixToken,
    /// The prompt is a conversation, but the model has no chat template.
    #[error("the GGUF holds no chat template; send the prompt as text")]
    NoChatTemplate,
    /// The chat template refused the conversation.
    #[error("failed to render the chat template: {0}")]
    ChatTemplate(#[from] minijinja::Error),
    /// A text could not be tokenised.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// A parameter is out of range.
    #[error("{parameter} is {value}; expected {expected}")]
    Parameter {
        /// Which one.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The arithmetic failed; a defect of this engine or of the file.
    #[error("failed to compute: {0}")]
    Compute(#[from] candle_core::Error),
}

/// What a model is asked to continue.
#[derive(Debug, Clone, Copy)]
pub enum Prompt<'a> {
    /// Text, taken as it is; led by BOS if the model expects that.
    Text(&'a str),
    /// Text that brings its own special tokens, as a chat template leaves it.
    Verbatim(&'a str),
    /// A conversation, rendered by the chat template up to where the assistant would answer.
    Messages(&'a [ChatMessage]),
}

/// A prompt as text, and how to tokenise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// The text.
    pub text: String,
    /// Whether the text brings its own special tokens, so that no BOS is added.
    pub is_verbatim: bool,
}

impl RenderedPrompt {
    /// The prompt to give on.
    pub fn as_prompt(&self) -> Prompt<'_> {
        if self.is_verbatim { Prompt::Verbatim(&self.text) } else { Prompt::Text(&self.text) }
    }
}

/// A loaded model.
pub struct Engine {
    weights: Weights,
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
    model_name: String,
}

impl Engine {
    /// Loads a GGUF file: about as much memory as the file takes.
    ///
    /// # Errors
    /// When the file is missing, broken, or describes a model that this engine does not compute.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let mut file = GgufFile::open(path)?;
        let weights = Weights::read(&mut file)?;
        let tokenizer = Tokenizer::read(&file)?;
        let spelling = |id: Option<u32>| {
            id.and_then(|id| tokenizer.spelling(id)).unwrap_or_default().to_owned()
        };
        let chat_template = file
            .string("tokenizer.chat_template")?
            .map(|source| {
                ChatTemplate::new(source, spelling(tokenizer.bos()), spelling(tokenizer.eos()))
            })
            .transpose()?;
        let model_name = file.string("general.name")?.unwrap_or_default();
        Ok(Self { weights, tokenizer, chat_template, model_name })
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// `general.name` of the file; may be empty.
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// Most tokens that one sequence may hold.
    pub fn context_length_tokens(&self) -> usize {
        self.weights.hyperparameters.context_length_tokens
    }

    /// Whether conversations can be rendered.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// A prompt's text, as the model will see it.
    ///
    /// # Errors
    /// When there is no chat template, or it refuses the conversation.
    pub fn render(&self, prompt: Prompt<'_>) -> Result<RenderedPrompt, EngineError> {
        match prompt {
            Prompt::Text(text) => Ok(RenderedPrompt { text: text.to_owned(), is_verbatim: false }),
            Prompt::Verbatim(text) => {
                Ok(RenderedPrompt { text: text.to_owned(), is_verbatim: true })
            }
            Prompt::Messages(messages) => {
                let template = self.chat_template.as_ref().ok_or(EngineError::NoChatTemplate)?;
                Ok(RenderedPrompt { text: template.render(messages)?, is_verbatim: true })
            }
        }
    }

    /// Token ids of a text that continues, or is, a prompt.
    ///
    /// # Errors
    /// When the text cannot be tokenised.
    pub fn encode(&self, text: &str, is_verbatim: bool) -> Result<Vec<u32>, EngineError> {
        if is_verbatim {
            Ok(self.tokenizer.encode_verbatim(text)?)
        } else {
            Ok(self.tokenizer.encode(text)?)
        }
    }

    /// Refuses more tokens than the model has positions; nothing is ever cut off silently.
    ///
    /// # Errors
    /// [`EngineError::ContextLength`].
    pub fn check_length(&self, needed_tokens: usize) -> Result<(), EngineError> {
        let limit_tokens = self.context_length_tokens();
        if needed_tokens <= limit_tokens {
            Ok(())
        } else {
            Err(EngineError::ContextLength { needed_tokens, limit_tokens })
        }
    }
}
