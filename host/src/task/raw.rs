//! A task as it was typed.
//!
//! These types say what a task file may hold and nothing of what it means: `resolve` checks them.
//! Their documentation becomes the descriptions of the JSON Schema, so it is written for the
//! person who writes the file. Unknown keys are found by the reader of the file, not here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JSON object: one record of a data set.
pub type Record = serde_json::Map<String, serde_json::Value>;

/// A task: a data set, how a prompt is made of each record, and how the reply is scored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RawTask {
    /// Name of the task in results, for example `piqa`. Unique in a run.
    pub id: String,
    /// One line that says what it measures, for `host task list`. No part of a configuration's digest.
    #[serde(default, skip_serializing)]
    pub description: Option<String>,
    /// How a sample is put to the model and scored.
    pub kind: Kind,
    /// Where the samples come from.
    pub data: RawData,
    /// The prompt.
    pub prompt: RawPrompt,
    /// The options of a sample. Needed by `multiple_choice`; a `generate` task that has them looks for the label of one
    /// in the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<RawChoices>,
    /// Jinja template of the right answer, for example `{{ label }}`. Where an option is the answer: an index from 0, an
    /// option's label, or an option's text; else the text, or number, that the answer is compared with. When the template
    /// is a single `{{ expression }}` that gives a list, any of its elements is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How `target` names an option. `auto` (the default) tries label, index and text in this order and
    /// refuses a target that is both an index and the text of another option.
    #[serde(default)]
    pub target_is: TargetIs,
    /// Solved examples that stand before the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_shot: Option<RawFewShot>,
    /// Parameters of generation, for `kind = "generate"` or `fallback = "generate"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<RawGenerate>,
    /// How the answer is found in a generated text. By default the label of an option where there are `choices`, else the
    /// whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<RawExtract>,
    /// What is ignored when the answer is compared with the target. Nothing by default, not even spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<RawExactMatch>,
    /// The metrics to report; the usual ones of the kind when absent. `multiple_choice`: `acc`,
    /// `acc_norm`, `acc_bytes` (usual), `acc_mutual_info`, `brier_score`, `exact_match`. `generate`:
    /// `exact_match`. `perplexity`: `word_perplexity`, `byte_perplexity`, `bits_per_byte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<String>>,
    /// Also ask for the log-likelihood of each option without a context, which `acc_mutual_info` needs.
    /// It costs one more continuation for each option.
    #[serde(default)]
    pub mutual_information: bool,
    /// How often each sample is asked. Metrics are means over the repeats of a sample, then over samples.
    #[serde(default = "one")]
    pub repeats: u32,
    /// The field, a text or a number, that says which samples belong together, such as the text that several
    /// questions are about. Standard errors and comparisons then count clusters of samples and not single ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What a refusal counts as.
    #[serde(default)]
    pub on_refusal: CountsAs,
    /// What a reply that was cut off by the token limit counts as. With `wrong`, an answer that is found
    /// in it all the same is graded as any other (a one-letter reply is always cut off).
    #[serde(default)]
    pub on_truncation: CountsAs,
    /// What a reply without an answer counts as.
    #[serde(default)]
    pub on_no_answer: CountsAs,
    /// What to do when the backend cannot give log-likelihoods: `generate` shows lettered options and
    /// reads the letter from the reply. Without it such a run stops before its first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

fn one() -> u32 {
    1
}

/// How a sample is put to the model and scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The option with the highest log-likelihood is the answer.
    MultipleChoice,
    /// The model writes, and the answer is read from its text.
    Generate,
    /// How well the model predicts a text (rolling log-likelihood).
    Perplexity,
}

/// How `target` names the right option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetIs {
    /// Label, then index, then text.
    #[default]
    Auto,
    /// An index from 0.
    Index,
    /// The option's label, such as `B`.
    Label,
    /// The option's text.
    Text,
}

/// What something that the model did counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountsAs {
    /// A wrong answer, as in other harnesses.
    #[default]
    Wrong,
    /// No score; the sample is left out of the metrics and counted apart.
    Unscored,
}

/// The form of a task to fall back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Lettered options, and the letter is read from the reply.
    Generate,
}

/// Where the samples come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RawData {
    /// The data file, relative to the file that names it.
    pub path: PathBuf,
    /// A second file with one label a line, as PIQA ships it. The label becomes the field `label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The format, when the extension does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The field that identifies a sample; its values must differ. Without it a sample's id is its
    /// position from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_field: Option<String>,
    /// What to do with a record that cannot be read or rendered.
    #[serde(default)]
    pub on_bad_sample: OnBadSample,
    /// Read only so many records.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The format of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// One JSON object a line (`.jsonl`, `.ndjson`). Read line by line.
    Jsonl,
    /// One JSON array of objects (`.json`). Held in memory, so at most 64 MiB.
    Json,
    /// Comma-separated with a header line (`.csv`); every field is a text. Read line by line.
    Csv,
}

/// What to do with a record that cannot be read or rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadSample {
    /// Stop the run and say where it is.
    #[default]
    Stop,
    /// Go on without it; it is reported and counted.
    Skip,
}

/// The prompt. Templates are Jinja over the fields of the record; `doc` is the whole record, and a
/// name that does not exist is an error. With choices, `choice_list` (each with `label` and `text`)
/// and `choice_lines` (`A. text`, one a line) exist too.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RawPrompt {
    /// Template of the system prompt. In a text prompt it simply stands first: end it as it should end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Template of the question (for `perplexity`, of the text).
    pub user: String,
    /// Template of the question in the generative form of a `multiple_choice` task. By default the
    /// question, the lettered options and a request for the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_user: Option<String>,
    /// One text, or messages of a chat.
    #[serde(default)]
    pub format: PromptFormat,
    /// Template of the beginning of the reply, for example `The answer is`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_prefix: Option<String>,
    /// What stands between question and answer; a space by default. Before an option of a chat
    /// prompt nothing, unless there is a generation prefix that does not end in whitespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_delimiter: Option<String>,
}

/// One text, or messages of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptFormat {
    /// One text, for a base model.
    #[default]
    Text,
    /// Messages; the server applies its chat template.
    Chat,
}

/// The options of a sample: either `texts` or `field`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RawChoices {
    /// One template for each option, for example `["{{ sol1 }}", "{{ sol2 }}"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
    /// The field that holds the list of options, for example `choices` or `choices.text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The labels of the options; `A`, `B`, … by default (after `Z` comes `AA`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The field that holds the list of labels, for example `choices.label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_field: Option<String>,
}

/// Solved examples that stand before the question: inline `examples`, the file `source`, or without
/// either the data set itself. The sample itself is never among its examples.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RawFewShot {
    /// How many; all of `examples` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// A file of records, relative to the file that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// A file with one label a line for `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<PathBuf>,
    /// Records written out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<Vec<Record>>,
    /// How the examples are chosen.
    #[serde(default)]
    pub sampler: Sampler,
    /// Seed of the choice.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What stands after each example in a text; an empty line by default.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// In a chat: examples as turns of user and assistant (default), or all in one user message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_turns: Option<bool>,
}

pub(super) const DEFAULT_SEPARATOR: &str = "\n\n";

fn default_seed() -> u64 {
    1234
}

fn default_separator() -> String {
    DEFAULT_SEPARATOR.to_owned()
}

/// How few-shot examples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// The first n.
    #[default]
    First,
    /// n drawn once with the seed, the same for every sample.
    Random,
    /// n drawn anew for each sample in order, exactly as lm-evaluation-harness draws them.
    LmEval,
}

/// Parameters of generation.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RawGenerate {
    /// The most tokens of a reply; 256 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 by default: the most likely token each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling, in (0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sample from the k most likely tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Record the log-probability of each generated token, with this many alternatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Texts that end a reply; the host cuts there too. By default the few-shot separator for a text
    /// prompt, and none for a chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Seed of sampling, for servers that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Replies asked for in one request; each is scored, and the sample's score is their mean. If one of
    /// them is unscored, so is the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// The text that ends a model's thinking, for example `</think>`; what stands before it is no part
    /// of the answer. With it `stop` is not sent, since a thought may hold one: only the host cuts there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_end: Option<String>,
    /// Further parameters of the vendor, passed on as they are.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub vendor: serde_json::Map<String, serde_json::Value>,
}

/// How the answer is found in a generated text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RawExtract {
    /// What to look for.
    pub kind: ExtractKind,
    /// The pattern of `regex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The group of `pattern` that is the answer (0 is the whole match). By default the first group
    /// that is not empty, or the whole match of a pattern without groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Which of several matches of `pattern`.
    #[serde(default)]
    pub take: Take,
}

/// What is looked for in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExtractKind {
    /// The label of one of the sample's options.
    Choice,
    /// The last number.
    Number,
    /// A match of `pattern`, without the spaces around it.
    Regex,
    /// The whole reply as it is.
    None,
}

/// Which of several matches is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

/// What is ignored when answer and target are compared, in the order of these keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RawExactMatch {
    /// Patterns whose matches are deleted on both sides.
    #[serde(default)]
    pub regexes_to_ignore: Vec<String>,
    /// Compare in lower case.
    #[serde(default)]
    pub ignore_case: bool,
    /// Delete ASCII punctuation.
    #[serde(default)]
    pub ignore_punctuation: bool,
    /// Delete digits.
    #[serde(default)]
    pub ignore_numbers: bool,
}
