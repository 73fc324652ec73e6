//! One line of lm-evaluation-harness's `samples_*.jsonl`: a document with what was asked, what came back and what it
//! is worth. Numbers in `resps` and `filtered_resps` are texts there.

use serde_json::{Map, Value, json};

use super::python;
use crate::{
    score::{
        metric::{Aggregation, Metric},
        parts::Parts,
    },
    store::{
        SampleRecord,
        record::{ChoiceRecord, Question, Response},
    },
    task::{
        prompt::{Prompt, Role},
        render::{Form, MultipleChoice},
    },
};
use plugin_api::Likelihood;

/// The line of a document, from its scored repeats in their order; none if there is none, or if its texts are not
/// stored.
pub fn line(records: &[SampleRecord], metrics: &[Metric], generate: &Value) -> Option<Value> {
    let first = records.first()?;
    let Question::Full { document, prompt, form } = &first.question else { return None };
    let (prompt, target) = (prompt_text(prompt), target(form));
    let arguments = arguments(&prompt, form, generate);
    let asked_first = arguments.first().map(|(context, _)| context.clone()).unwrap_or_default();
    let (resps, filtered) = responses(records, form);
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
    set("doc_id", first.sample.index.into());
    set("doc", Value::Object(document.clone()));
    set("target", target.clone().into());
    let arguments = arguments.into_iter().enumerate().map(|(number, (context, rest))| {
        let mut one = json!({ "arg_0": context });
        if let Some(rest) = rest {
            one["arg_1"] = rest;
        }
        (format!("gen_args_{number}"), one)
    });
    set("arguments", Value::Object(arguments.collect()));
    set("resps", resps);
    set("filtered_resps", filtered);
    set("filter", "none".into());
    let parts: Vec<Parts> = records.iter().filter_map(|record| record.scores.clone()).collect();
    let parts = Parts::mean(&parts);
    let values: Vec<(Metric, Value)> =
        metrics.iter().filter_map(|metric| Some((*metric, value(*metric, &parts)?))).collect();
    set("metrics", values.iter().map(|(metric, _)| metric.name()).collect());
    set("doc_hash", python::hash(&python::json_indented(document)).into());
    set("prompt_hash", python::hash(&asked_first).into());
    set("target_hash", python::hash(&target).into());
    for (metric, value) in values {
        set(metric.name(), value);
    }
    Some(Value::Object(line))
}

/// A metric of a document: a number, or of perplexities the log-likelihood and what it is over.
fn value(metric: Metric, parts: &Parts) -> Option<Value> {
    match metric.aggregation() {
        Aggregation::Mean { .. } => parts.get(metric).map(Value::from),
        Aggregation::PerUnit { unit, .. } => {
            Some(json!([parts.0.get("loglikelihood")?, parts.0.get(unit)?]))
        }
    }
}

/// `doc_to_target` as text.
fn target(form: &Form) -> String {
    match form {
        Form::MultipleChoice(form) => match form.gold.as_slice() {
            [gold] => gold.to_string(),
            several => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                format!("[{}]", several.join(", "))
            }
        },
        Form::Generate(form) => match form.references.as_slice() {
            [reference] => reference.clone(),
            several => python::list(several),
        },
        Form::Rolling { text } => text.clone(),
    }
}

/// The context as text; a chat as the JSON list that its API models are given.
fn prompt_text(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(chat) => {
            let role = |role| match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            let prefix = chat.generation_prefix.iter().map(|text| ("assistant", text));
            let messages = chat.messages.iter().map(|message| (role(message.role), &message.text));
            let messages: Vec<Value> = messages
                .chain(prefix)
                .map(|(role, text)| json!({ "role": role, "content": text }))
                .collect();
            python::json_line(&messages)
        }
    }
}

/// Of each request its context and what else it was given.
fn arguments(prompt: &str, form: &Form, generate: &Value) -> Vec<(String, Option<Value>)> {
    match form {
        Form::MultipleChoice(form) => {
            let after = |context: &str| {
                let pair = |text: &String| (context.to_owned(), Some(Value::from(text.as_str())));
                form.continuations.iter().map(pair).collect::<Vec<_>>()
            };
            let mut all = after(prompt);
            if form.unconditional {
                all.extend(after(""));
            }
            all
        }
        Form::Generate(_) => vec![(prompt.to_owned(), Some(generate.clone()))],
        Form::Rolling { text } => vec![(text.clone(), None)],
    }
}

/// `resps`: of each request the replies of all repeats. `filtered_resps`: of each request the first one, read out.
fn responses(records: &[SampleRecord], form: &Form) -> (Value, Value) {
    match form {
        Form::MultipleChoice(MultipleChoice { continuations, unconditional, .. }) => {
            let requests = continuations.len() * if *unconditional { 2 } else { 1 };
            let of = |record: &SampleRecord, number: usize| match &record.response {
                Some(Response::Likelihoods { conditional, unconditional }) => {
                    conditional.iter().chain(unconditional).nth(number).map(likelihood)
                }
                _ => None,
            };
            let resps: Vec<Vec<Value>> = (0..requests)
                .map(|number| records.iter().filter_map(|record| of(record, number)).collect())
                .collect();
            let filtered: Vec<&Value> = resps.iter().filter_map(|all| all.first()).collect();
            (json!(resps), json!(filtered))
        }
        Form::Generate(_) => {
            let choices = || {
                records.iter().flat_map(|record| match &record.response {
                    Some(Response::Completion { choices, .. }) => choices.as_slice(),
                    _ => &[],
                })
            };
            let read = |choice: &ChoiceRecord| choice.answer.clone().unwrap_or_default();
            let texts: Vec<&str> = choices().map(|choice| choice.text.as_str()).collect();
            let answers: Vec<String> = choices().map(read).collect();
            let filtered = match answers.as_slice() {
                [answer] => json!([answer]),
                answers => json!([answers]),
            };
            (json!([texts]), filtered)
        }
        Form::Rolling { .. } => {
            let sums: Vec<Value> = records
                .iter()
                .filter_map(|record| match &record.response {
                    Some(Response::Likelihoods { conditional, .. }) => conditional.first(),
                    _ => None,
                })
                .map(|one| Value::from(number(one.logprob)))
                .collect();
            (json!([sums]), json!(sums.first()))
        }
    }
}

/// A log-likelihood and whether it is greedy, as texts.
fn likelihood(likelihood: &Likelihood) -> Value {
    let greedy = match likelihood.greedy {
        Some(true) => "True",
        Some(false) => "False",
        // The server does not say, and so neither do we.
        None => "None",
    };
    json!([number(likelihood.logprob), greedy])
}

fn number(logprob: Option<f64>) -> String {
    logprob.map_or_else(|| "-inf".to_owned(), python::float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(form: Value, response: Value, scores: Value) -> SampleRecord {
        serde_json::from_value(json!({
            "format": 1, "task": "t", "backend": "b",
            "sample": { "id": "s", "index": 3, "repeat": 0, "digest": "00" },
            "status": "scored", "scores": scores,
            "question": { "full": {
                "document": { "q": "x", "label": 1 }, "prompt": { "text": "Q: x\nA:" }, "form": form,
            } },
            "response": response,
            "usage": { "prompt": 1, "completion": 2 },
            "timing_ms": { "total": 1.0, "attempt": 1.0 }, "attempts": 1,
        }))
        .unwrap()
    }

    #[test]
    fn options_are_requests_whose_numbers_are_texts() {
        let form = json!({ "multiple_choice": {
            "continuations": [" yes", " no"],
            "choices": { "texts": ["yes", "no"], "labels": ["A", "B"] },
            "gold": [1], "unconditional": false,
        } });
        let response = json!({ "likelihoods": { "conditional": [
            { "logprob": -12.5, "tokens": 1, "greedy": false }, { "logprob": -10.0, "tokens": 1 },
        ] } });
        let record = record(form, response, json!({ "acc": 1.0, "acc_norm": 1.0 }));
        let found = line(&[record], &[Metric::Acc, Metric::AccNorm], &Value::Null).unwrap();
        // The digests are Python's: hashlib.sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode()) and so on.
        let expected = json!({
            "doc_id": 3, "doc": { "q": "x", "label": 1 }, "target": "1",
            "arguments": {
                "gen_args_0": { "arg_0": "Q: x\nA:", "arg_1": " yes" },
                "gen_args_1": { "arg_0": "Q: x\nA:", "arg_1": " no" },
            },
            "resps": [[["-12.5", "False"]], [["-10.0", "None"]]],
            "filtered_resps": [["-12.5", "False"], ["-10.0", "None"]],
            "filter": "none", "metrics": ["acc", "acc_norm"],
            "doc_hash": "31dc4189afbea60a48f838f7634dc16417c2bd0ec40bcd5cb2eafdf7187c6ce1",
            "prompt_hash": "56bcd235273910f5020426f8e402f9f4eae4b13c9bd5fc4e2a314ea5bc8307e9",
            "target_hash": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
            "acc": 1.0, "acc_norm": 1.0,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn replies_of_all_repeats_stand_together() {
        let form = json!({ "generate": {
            "references": ["7", "seven"], "choices": { "texts": [], "labels": [] },
        } });
        let reply = |text: &str, answer: &str| {
            let choice = json!({ "text": text, "answer": answer, "finish_reason": "stop" });
            json!({ "completion": { "choices": [choice] } })
        };
        let records = [
            record(form.clone(), reply("is 7", "7"), json!({ "exact_match": 1.0 })),
            record(form, reply("is 8", "8"), json!({ "exact_match": 0.0 })),
        ];
        let found = line(&records, &[Metric::ExactMatch], &json!({ "until": ["\n"] })).unwrap();
        assert_eq!(found["target"], "['7', 'seven']");
        assert_eq!(found["arguments"]["gen_args_0"]["arg_1"]["until"], json!(["\n"]));
        assert_eq!(found["resps"], json!([["is 7", "is 8"]]));
        assert_eq!(found["filtered_resps"], json!([["7", "8"]]));
        assert_eq!(found["exact_match"], 0.5);
    }
}
