//! Generation: one request a call, alone or streamed; and several requests in the batch form of `/generate`.
//!
//! What requests and replies look like is [`encode`]'s and [`decode`]'s business; here they become calls and
//! completions.

use std::time::Duration;

use plugin_api::{
    Answers, Completion, Error, ErrorKind, Generate, HttpRequest, Io, Result, SseParser, Usage,
    join_all,
};

use crate::{
    Sglang,
    choice::{self, Answered, Asked},
    decode,
    encode::{self, Generation, Input},
    failure,
    stream::{self, Collector, Ended, Frame},
};

/// What one call of a batch answers.
enum Job<'a> {
    /// One request, the ordinary way.
    Alone(u32),
    /// Requests that go together.
    Together(Vec<(u32, Generation<'a>)>),
}

impl Sglang {
    /// Answers one request.
    pub(crate) async fn generated(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let generation = Generation::new(&self.config, request)?;
        let input = self.input(&request.prompt, generation.template, io).await?;
        let body = generation.body(&input, request.stream);
        let call = self.post("/generate", &body)?;
        let asked = asked(&generation, &input);
        let choices = usize::try_from(generation.n).unwrap_or(usize::MAX);
        let answers = if request.stream {
            streamed(call, asked, choices, io).await?
        } else {
            let reply = io.send(call).await?;
            decode::outputs(&reply, choices)?
                .into_iter()
                .map(|output| choice::answered(output, &asked).map_err(|e| shown(e, reply.body())))
                .collect::<Result<_>>()?
        };
        Ok(self.completion(generation, answers))
    }

    /// Answers several requests, those that can in one call.
    pub(crate) async fn generated_batch(
        &self,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) {
        let jobs = self.jobs(requests, answers);
        let work = jobs.into_iter().map(|job| async move {
            let group = match job {
                Job::Alone(item) => return self.alone(item, requests, io, answers).await,
                Job::Together(group) => group,
            };
            let items: Vec<u32> = group.iter().map(|(item, _)| *item).collect();
            let Err(error) = self.together(group, requests, io, answers).await else {
                return;
            };
            // The server refuses a batch for one of its requests and does not say for which: each is then asked
            // on its own, so that none is refused for its neighbour.
            if matches!(
                error.kind,
                ErrorKind::InvalidRequest | ErrorKind::ContextLength | ErrorKind::Unsupported
            ) {
                let each = items.iter().map(|item| self.alone(*item, requests, io, answers));
                join_all(each).await;
            } else {
                items.iter().for_each(|item| answers.put(*item, Err(error.clone())));
            }
        });
        join_all(work).await;
    }

    /// Sorts requests into calls; those that make no sense are answered at once.
    fn jobs<'a>(
        &'a self,
        requests: &'a [Generate<'a>],
        answers: &Answers<'_, Completion>,
    ) -> Vec<Job<'a>> {
        let mut jobs: Vec<Job<'a>> = Vec::new();
        let mut groups: Vec<(bool, Vec<(u32, Generation<'a>)>)> = Vec::new();
        for (request, item) in requests.iter().zip(0..) {
            let generation = match Generation::new(&self.config, request) {
                Ok(generation) => generation,
                Err(error) => {
                    answers.put(item, Err(error));
                    continue;
                }
            };
            // A stream's deltas are an item's, and several choices share their prompt.
            if request.stream || generation.n > 1 {
                jobs.push(Job::Alone(item));
                continue;
            }
            let is_text = self.sends_text(&request.prompt);
            let fits = |group: &&mut (bool, Vec<(u32, Generation<'a>)>)| {
                group.0 == is_text
                    && group.1.first().is_some_and(|(_, first)| first.goes_with(&generation))
            };
            match groups.iter_mut().find(fits) {
                Some((_, group)) => group.push((item, generation)),
                None => groups.push((is_text, vec![(item, generation)])),
            }
        }
        jobs.extend(groups.into_iter().map(|(_, group)| match group.as_slice() {
            [(item, _)] => Job::Alone(*item),
            _ => Job::Together(group),
        }));
        jobs
    }

    async fn alone(
        &self,
        item: u32,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) {
        let Some(request) = requests.get(item as usize) else {
            return;
        };
        answers.put(item, self.generated(request, &io.for_item(item)).await);
    }

    /// One call for several requests.
    ///
    /// # Errors
    /// The call failed, and no item is answered.
    async fn together(
        &self,
        group: Vec<(u32, Generation<'_>)>,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) -> Result<()> {
        let inputs = group.iter().map(|(item, generation)| async move {
            let request = requests.get(*item as usize).ok_or_else(lost)?;
            self.input(&request.prompt, generation.template, io).await
        });
        let inputs = join_all(inputs).await.into_iter().collect::<Result<Vec<_>>>()?;
        let (items, generations): (Vec<u32>, Vec<_>) = group.into_iter().unzip();
        let batch: Vec<_> = generations.into_iter().zip(inputs).collect();
        let body = encode::batch(&batch).ok_or_else(lost)?;
        let reply = io.send(self.post("/generate", &body)?).await?;
        let outputs = decode::outputs(&reply, batch.len())?;
        for ((item, (generation, input)), output) in items.into_iter().zip(batch).zip(outputs) {
            let answered = choice::answered(output, &asked(&generation, &input));
            let answer = answered.map(|answered| self.completion(generation, vec![answered]));
            answers.put(item, answer.map_err(|error| shown(error, reply.body())));
        }
        Ok(())
    }

    fn completion(&self, generation: Generation<'_>, answers: Vec<Answered>) -> Completion {
        let mut completion = Completion {
            model: self.config.model.clone(),
            changed: generation.changed,
            ..Completion::default()
        };
        for answer in answers {
            add(&mut completion.usage, answer.usage);
            completion.changed.extend(answer.changed);
            completion.choices.push(answer.choice);
        }
        completion.changed.dedup();
        completion
    }
}

fn asked<'s>(generation: &'s Generation<'_>, input: &Input<'_>) -> Asked<'s> {
    Asked {
        stop: &generation.stop,
        logprobs: generation.logprobs.is_some(),
        max_new_tokens: generation.sampling.max_new_tokens,
        prompt_tokens: input.tokens(),
    }
}

async fn streamed(
    call: HttpRequest<'_>,
    asked: Asked<'_>,
    choices: usize,
    io: &Io,
) -> Result<Vec<Answered>> {
    let mut stream = io.stream(call).await?;
    if !stream.head().is_success() {
        return Err(failure::of(&stream.collect().await?));
    }
    let mut events = SseParser::default();
    let mut collectors: Vec<_> = (0..choices).map(|_| Collector::new(asked)).collect();
    let mut odd = Odd::default();
    let mut over = false;
    while !over {
        let Some(chunk) = stream.chunk().await? else {
            // An event that the end of the stream cut off is no event.
            if let Some(event) = events.finish() {
                let _ = take(&event.data, &mut collectors);
            }
            break;
        };
        odd.see(&chunk);
        for event in events.push(&chunk) {
            over = take(&event.data, &mut collectors)?;
            if over {
                break;
            }
        }
        pass_on(io, &mut collectors);
    }
    pass_on(io, &mut collectors);
    let ended = collectors.into_iter().map(Collector::finish).collect::<Result<Vec<Ended>>>();
    let ended = ended.map_err(|error| odd.error().unwrap_or(error))?;
    if over && ended.iter().all(|ended| ended.by_server) {
        // A proxy may keep the stream open; the answers are whole without its end.
        stream.drain(io, Duration::from_millis(100)).await;
    }
    Ok(ended.into_iter().map(Answered::from).collect())
}

/// Takes the data of one event; true if no later one matters.
fn take(data: &str, collectors: &mut [Collector<'_>]) -> Result<bool> {
    match stream::frame(data)? {
        None => Ok(false),
        Some(Frame::Done) => Ok(true),
        Some(Frame::Output(output)) => {
            let collector = collectors.get_mut(output.index.unwrap_or(0)).ok_or_else(|| {
                Error::unexpected("an event of the stream for a choice that was not asked for")
            });
            let taken = collector.and_then(|collector| collector.take(&output));
            taken.map_err(|error| shown(error, data.as_bytes()))?;
            Ok(collectors.iter().all(Collector::is_complete))
        }
    }
}

/// Deltas are an item's, not a choice's: only the first choice is passed on.
fn pass_on(io: &Io, collectors: &mut [Collector<'_>]) {
    if let Some(first) = collectors.first_mut() {
        let text = first.delta();
        if !text.is_empty() {
            io.delta(text);
        }
    }
}

/// Most bytes kept of a body that is no stream.
const ODD_BYTES: usize = 1 << 16;

/// A body that came as a stream and is none: a page, or an object.
#[derive(Debug, Default)]
struct Odd {
    is_stream: bool,
    body: Vec<u8>,
}

impl Odd {
    fn see(&mut self, chunk: &[u8]) {
        if self.body.is_empty() {
            let begins = chunk.trim_ascii_start().first();
            self.is_stream |= begins.is_some_and(|byte| !matches!(byte, b'<' | b'{'));
        }
        if !self.is_stream && self.body.len() < ODD_BYTES {
            self.body.extend_from_slice(chunk);
        }
    }

    fn error(&self) -> Option<Error> {
        let body = Some(self.body.trim_ascii()).filter(|body| !body.is_empty())?;
        let told = failure::in_body(body);
        Some(told.unwrap_or_else(|| {
            Error::unexpected("something else came instead of events").with_excerpt(body)
        }))
    }
}

/// A failure with the reply that tells it, where the reply is of unknown shape.
pub(crate) fn shown(error: Error, body: &[u8]) -> Error {
    if error.kind == ErrorKind::UnexpectedReply && error.excerpt.is_none() {
        error.with_excerpt(body)
    } else {
        error
    }
}

/// The choices of a request share its prompt.
fn add(sum: &mut Usage, more: Usage) {
    let prompt_tokens = sum.prompt_tokens.max(more.prompt_tokens);
    let cached_tokens = sum.cached_tokens.or(more.cached_tokens);
    sum.add(more);
    *sum = Usage { prompt_tokens, cached_tokens, ..*sum };
}

fn lost() -> Error {
    Error::new(ErrorKind::Protocol, "a request of the batch was lost")
}
