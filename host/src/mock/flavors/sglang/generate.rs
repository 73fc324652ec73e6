//! `/generate`: from a body to prompts, from prompts to answers.

use std::borrow::Cow;

use super::{
    CONTEXT, Sglang, bad_request, complaint, ids, read,
    reply::{self, Item, Wanted},
    request::{Generate, Ids},
    sampling::Sampling,
};
use crate::mock::{
    exchange::{Answer, Asked, Wire},
    flavors::compatible::OneOrMany,
    model::{BOS, Prompt, decode},
    server::Mock,
};

/// A prompt as text and as ids.
#[derive(Debug)]
struct Input<'a> {
    text: Cow<'a, str>,
    ids: Vec<u32>,
}

impl<'a> Input<'a> {
    fn of_text(text: Cow<'a, str>) -> Self {
        Self { ids: ids(&text, true), text }
    }

    fn of_ids(ids: Vec<u32>) -> Self {
        let mut text = String::with_capacity(4 * ids.len());
        let told = ids.iter().skip(usize::from(ids.first() == Some(&BOS)));
        told.for_each(|id| decode(*id, &mut text));
        Self { text: Cow::Owned(text), ids }
    }
}

/// The answer to a request.
pub(super) async fn answer(
    wire: &Sglang,
    asked: &Asked<'_>,
    mock: &Mock,
) -> Result<Answer, Answer> {
    let request: Generate<'_> = read(asked)?;
    let (inputs, is_batch) = inputs(request.text, request.input_ids)?;
    let default = Sampling::default();
    let sampling = |at| match &request.sampling_params {
        Some(given) => given.of(at).unwrap_or(&default),
        None => &default,
    };
    let several = is_batch || sampling(0).n() > 1;
    let mut items = Vec::with_capacity(inputs.len());
    for (at, input) in inputs.iter().enumerate() {
        let sampling = sampling(at);
        let wanted = Wanted {
            logprobs: one(&request.return_logprob, at).unwrap_or(false),
            start: one(&request.logprob_start_len, at).unwrap_or(-1),
            top: one(&request.top_logprobs_num, at).unwrap_or(0) as usize,
            ids: request.token_ids_logprob.as_ref().and_then(|ids| ids.of(at)),
            text: request.return_text_in_logprobs.unwrap_or(false),
        };
        check(input, sampling, &wanted)?;
        for choice in 0..sampling.n() {
            let ask = sampling.ask(Prompt::Text(Cow::Borrowed(&*input.text)), choice);
            let said = mock.say(&ask).await;
            let mut said = said.map_err(|trouble| wire.trouble(asked, &trouble))?;
            said.prompt_tokens = input.ids.len();
            said.end_at(sampling.stop_token_ids());
            let rid = request.rid.as_ref().and_then(|rid| rid.of(at)).map(String::as_str);
            items.push(Item { ids: &input.ids, sampling, wanted, said, rid });
        }
    }
    Ok(if request.stream.unwrap_or(false) {
        reply::stream(&items, several, mock.settings.sglang_incremental)
    } else {
        reply::whole(&items, several)
    })
}

fn one<T: Copy>(given: &Option<OneOrMany<T>>, at: usize) -> Option<T> {
    given.as_ref().and_then(|given| given.of(at)).copied()
}

/// The prompts, and whether they were a list.
fn inputs<'a>(
    text: Option<OneOrMany<Cow<'a, str>>>,
    ids: Option<Ids>,
) -> Result<(Vec<Input<'a>>, bool), Answer> {
    let (inputs, is_batch) = match (text, ids) {
        (Some(OneOrMany::One(text)), None) => (vec![Input::of_text(text)], false),
        (Some(OneOrMany::Many(texts)), None) => {
            (texts.into_iter().map(Input::of_text).collect(), true)
        }
        (None, Some(Ids::One(ids))) => (vec![Input::of_ids(ids)], false),
        (None, Some(Ids::Many(lists))) => (lists.into_iter().map(Input::of_ids).collect(), true),
        _ => return Err(complaint("Either text, input_ids or input_embeds should be provided.")),
    };
    if inputs.iter().any(|input| input.ids.is_empty()) || inputs.is_empty() {
        return Err(complaint("The input is empty."));
    }
    Ok((inputs, is_batch))
}

fn check(input: &Input<'_>, sampling: &Sampling, wanted: &Wanted<'_>) -> Result<(), Answer> {
    sampling.check().map_err(|message| complaint(&message))?;
    let (given, most) = (input.ids.len(), sampling.max_new_tokens());
    if given >= CONTEXT {
        return Err(complaint(&format!(
            "The input ({given} tokens) is longer than the model's context length ({CONTEXT} tokens)."
        )));
    }
    if given + most > CONTEXT {
        return Err(complaint(&format!(
            "Requested token count exceeds the model's maximum context length of {CONTEXT} tokens. You requested a \
             total of {} tokens: {given} tokens from the input messages and {most} tokens for the completion.",
            given + most
        )));
    }
    let beyond = usize::try_from(wanted.start).is_ok_and(|start| start > given);
    if wanted.logprobs && (beyond || wanted.start < -1) {
        let start = wanted.start;
        return Err(bad_request(&format!(
            "logprob_start_len ({start}) is out of range: the input has {given} tokens"
        )));
    }
    Ok(())
}
