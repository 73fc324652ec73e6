//! Requests as `/generate` takes them (wire.md 3.2; python/sglang/srt/managers/io_struct.py, `GenerateReqInput`,
//! version 0.5.23).
//!
//! Pure: borrows prompts and configuration, sends nothing. At the top level SGLang ignores unknown keys silently,
//! so every key here is spelt by a typed field.

use std::borrow::Cow;

use plugin_api::{Changed, Error, Generate, Result};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    config::Config,
    sampling::{self, MAX_STOPS, Sampling},
};

/// A prompt as the server gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Text, which the server tokenises with its special tokens.
    Text(Cow<'a, str>),
    /// Token ids, to which the server adds nothing.
    Ids(Vec<u32>),
}

impl Input<'_> {
    /// Number of tokens, where they were counted out.
    pub fn tokens(&self) -> Option<usize> {
        match self {
            Self::Text(_) => None,
            Self::Ids(ids) => Some(ids.len()),
        }
    }
}

/// A value, or one for each prompt of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOrMany<T> {
    /// For the only prompt, or for all of them.
    One(T),
    /// For each prompt.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// A list of one stands for itself.
    fn of(mut items: Vec<T>) -> Option<Self> {
        if items.len() > 1 { Some(Self::Many(items)) } else { items.pop().map(Self::One) }
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::One(item) => item.serialize(serializer),
            Self::Many(items) => items.serialize(serializer),
        }
    }
}

/// Body of `/generate`. A batch is a body whose prompts are a list.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<OneOrMany<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_ids: Option<OneOrMany<&'a [u32]>>,
    sampling_params: OneOrMany<Sampling<'a>>,
    stream: bool,
    return_logprob: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprob_start_len: Option<OneOrMany<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs_num: Option<u32>,
    /// For every prompt of the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_ids_logprob: Vec<u32>,
    /// Without it the tokens come as ids alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    return_text_in_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_logit_processor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_salt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
}

/// What stands beside `sampling_params` at the top level, equal for all prompts of a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options<'a> {
    token_ids_logprob: Vec<u32>,
    lora_path: Option<&'a str>,
    priority: Option<i64>,
    custom_logit_processor: Option<&'a str>,
    cache_salt: Option<&'a str>,
    extra_key: Option<&'a str>,
    routing_key: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn configured(config: &'a Config) -> Self {
        Self {
            token_ids_logprob: config.token_ids_logprob.clone(),
            lora_path: config.lora_path.as_deref(),
            priority: config.priority,
            custom_logit_processor: config.custom_logit_processor.as_deref(),
            cache_salt: config.cache_salt.as_deref(),
            extra_key: config.extra_key.as_deref(),
            routing_key: config.routing_key.as_deref(),
        }
    }

    /// One parameter of the vendor's own; false if it has no place here.
    fn take(&mut self, name: &str, value: &'a Value) -> Result<bool> {
        match name {
            "token_ids_logprob" => {
                let ids: Option<Vec<u32>> = sampling::typed(name, value)?;
                self.token_ids_logprob = ids.unwrap_or_default();
            }
            "lora_path" => self.lora_path = sampling::typed(name, value)?,
            "priority" => self.priority = sampling::typed(name, value)?,
            "custom_logit_processor" => {
                self.custom_logit_processor = sampling::typed(name, value)?;
            }
            "cache_salt" => self.cache_salt = sampling::typed(name, value)?,
            "extra_key" => self.extra_key = sampling::typed(name, value)?,
            "routing_key" => self.routing_key = sampling::typed(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn body(&self, inputs: &[&'a Input<'_>], sampling: OneOrMany<Sampling<'a>>) -> Body<'a> {
        let texts = inputs.iter().filter_map(|input| match input {
            Input::Text(text) => Some(&**text),
            Input::Ids(_) => None,
        });
        let ids = inputs.iter().filter_map(|input| match input {
            Input::Text(_) => None,
            Input::Ids(ids) => Some(ids.as_slice()),
        });
        Body {
            text: OneOrMany::of(texts.collect()),
            input_ids: OneOrMany::of(ids.collect()),
            sampling_params: sampling,
            stream: false,
            return_logprob: false,
            logprob_start_len: None,
            top_logprobs_num: None,
            token_ids_logprob: Vec::new(),
            return_text_in_logprobs: None,
            lora_path: self.lora_path,
            priority: self.priority,
            custom_logit_processor: self.custom_logit_processor,
            cache_salt: self.cache_salt,
            extra_key: self.extra_key,
            routing_key: self.routing_key,
        }
    }
}

/// A generation request translated, but for its prompt.
#[derive(Debug)]
pub struct Generation<'a> {
    /// `sampling_params` of the first choice.
    pub sampling: Sampling<'a>,
    options: Options<'a>,
    /// The stop texts to cut the answer at, also those that the server does not get.
    pub stop: Vec<&'a str>,
    /// Alternatives wanted beside each log-probability; none if log-probabilities are not wanted.
    pub logprobs: Option<u32>,
    /// Number of choices.
    pub n: u32,
    /// Variables for the chat template.
    pub template: &'a Map<String, Value>,
    /// What was dropped or changed.
    pub changed: Vec<Changed>,
}

impl<'a> Generation<'a> {
    /// Translates a request over the defaults of the configuration.
    ///
    /// # Errors
    /// `unsupported` for a vendor parameter that SGLang has not; `invalid_request` for a value of the wrong
    /// type or out of its range.
    pub fn new(config: &'a Config, request: &'a Generate<'a>) -> Result<Self> {
        let mut generation = Self {
            sampling: Sampling::configured(config),
            options: Options::configured(config),
            stop: Vec::new(),
            logprobs: request.logprobs.or(config.top_logprobs_num),
            n: request.n.max(1),
            template: &config.chat_template_kwargs,
            changed: Vec::new(),
        };
        generation.sampling.make_way(&request.extra);
        for (name, value) in &request.extra {
            generation.take(name, value, request.logprobs)?;
        }
        if !generation.options.token_ids_logprob.is_empty() {
            generation.logprobs.get_or_insert(0);
        }
        let sampling = &mut generation.sampling;
        sampling.max_new_tokens = request.max_tokens.unwrap_or(sampling.max_new_tokens);
        sampling.settle(
            request.temperature.or(config.temperature),
            request.top_p.or(config.top_p),
            request.top_k.or(config.top_k),
        );
        sampling.check()?;
        generation.seed(request.seed);
        generation.stop_at(request);
        Ok(generation)
    }

    /// The body of `/generate` for one prompt, alone.
    ///
    /// `n` stands for several choices. With a seed they would all be the same on a server that keeps its
    /// promise, so each then is a prompt of a batch, with a seed of its own.
    pub fn body<'b>(&'b self, input: &'b Input<'_>, stream: bool) -> Body<'b> {
        let mut body = match self.sampling.sampling_seed.filter(|_| self.n > 1) {
            Some(seed) => {
                let seeded = |choice| self.sampling.seeded(seed.wrapping_add(i64::from(choice)));
                let (inputs, sampling): (Vec<_>, Vec<_>) =
                    (0..self.n).map(|choice| (input, seeded(choice))).unzip();
                self.options.body(&inputs, OneOrMany::Many(sampling))
            }
            None => self.options.body(&[input], OneOrMany::One(self.sampling.for_choices(self.n))),
        };
        body.stream = stream;
        self.ask_for_logprobs(body)
    }

    /// Whether two generations of one choice can share a call, their prompts being of one kind.
    pub fn goes_with(&self, other: &Self) -> bool {
        self.n == 1
            && other.n == 1
            && self.options == other.options
            && self.logprobs == other.logprobs
    }

    fn ask_for_logprobs<'b>(&self, mut body: Body<'b>) -> Body<'b> {
        if let Some(alternatives) = self.logprobs {
            body.return_logprob = true;
            body.return_text_in_logprobs = Some(true);
            body.top_logprobs_num = Some(alternatives).filter(|n| *n > 0);
            body.token_ids_logprob.clone_from(&self.options.token_ids_logprob);
        }
        body
    }

    fn take(&mut self, name: &str, value: &'a Value, asked: Option<u32>) -> Result<()> {
        match name {
            "top_logprobs_num" => self.logprobs = asked.or(sampling::typed(name, value)?),
            "chat_template_kwargs" => {
                self.template = sampling::object(name, value)?.unwrap_or(self.template);
            }
            _ if self.sampling.take(name, value)? || self.options.take(name, value)? => {}
            _ => return Err(Error::unsupported(&format!("the parameter `{name}`"))),
        }
        Ok(())
    }

    /// A greedy request needs no seed. The server's seeds have a sign.
    fn seed(&mut self, seed: Option<u64>) {
        let Some(seed) = seed.filter(|_| self.sampling.is_random()) else {
            return;
        };
        let signed = seed.cast_signed();
        self.sampling.sampling_seed = Some(signed);
        if signed < 0 {
            self.changed.push(change(
                "seed",
                format!("sent as {signed}, the same 64 bits: the server's seeds end at 2^63 - 1"),
            ));
        }
    }

    /// Keeps the stop texts that the server can take, and all that the answer is cut at.
    fn stop_at(&mut self, request: &'a Generate<'a>) {
        self.stop =
            request.stop.iter().map(|stop| &**stop).filter(|stop| !stop.is_empty()).collect();
        self.sampling.stop = self.stop.iter().copied().take(MAX_STOPS).collect();
        if self.stop.len() < request.stop.len() {
            self.changed.push(change(
                "stop",
                "empty stop texts dropped: they would end every answer".to_owned(),
            ));
        }
        if self.stop.len() > MAX_STOPS {
            self.changed.push(change(
                "stop",
                format!(
                    "only the first {MAX_STOPS} of {} were sent, the server takes no more; the answer is \
                     cut at all of them",
                    self.stop.len()
                ),
            ));
        }
    }
}

/// The body of `/generate` for several prompts, each with its own sampling. They go together
/// ([`Generation::goes_with`]), and their inputs are of one kind.
pub fn batch<'b>(items: &'b [(Generation<'b>, Input<'b>)]) -> Option<Body<'b>> {
    let (first, _) = items.first()?;
    let inputs: Vec<_> = items.iter().map(|(_, input)| input).collect();
    let sampling = items.iter().map(|(generation, _)| generation.sampling.clone()).collect();
    Some(first.ask_for_logprobs(first.options.body(&inputs, OneOrMany::of(sampling)?)))
}

/// The body of `/generate` that scores token sequences: log-probabilities from the entry before each
/// sequence's first scored token on (wire.md 3.5), so that the server's prefix cache serves what lies before.
///
/// `starts` has one position for each input.
pub fn scoring<'b>(config: &'b Config, inputs: &[&'b Input<'_>], starts: Vec<usize>) -> Body<'b> {
    let options = Options { custom_logit_processor: None, ..Options::configured(config) };
    Body {
        return_logprob: true,
        logprob_start_len: OneOrMany::of(starts),
        top_logprobs_num: Some(1),
        ..options.body(inputs, OneOrMany::One(Sampling::scoring()))
    }
}

fn change(parameter: &str, detail: String) -> Changed {
    Changed { parameter: parameter.to_owned(), detail }
}
