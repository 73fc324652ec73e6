//! An answer with the thinking that some models do before it, and pay for out of the same budget.

use crate::mock::{
    exchange::Trouble,
    model::{self, Ask, End, Prompt, Said},
    server::Mock,
};

/// An answer, and what was thought before it.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// What was thought; none for a model that does not think.
    pub(crate) thoughts: Option<Said>,
    /// The answer. It is empty and ends by the budget if thinking spent that.
    pub(crate) said: Said,
}

impl Spoken {
    /// Tokens of the thinking.
    pub(crate) fn thought_tokens(&self) -> usize {
        self.thoughts.as_ref().map_or(0, |thoughts| thoughts.completion_tokens)
    }

    /// Tokens of both.
    pub(crate) fn completion_tokens(&self) -> usize {
        self.thought_tokens() + self.said.completion_tokens
    }
}

/// Answers, after `thinking` tokens of thought.
///
/// # Errors
/// Those of the server that answers in the model's place.
pub(crate) async fn speak(
    mock: &Mock,
    mut ask: Ask<'_>,
    thinking: usize,
) -> Result<Spoken, Trouble> {
    if thinking == 0 {
        return Ok(Spoken { thoughts: None, said: mock.say(&ask).await? });
    }
    let budget = ask.max_tokens.unwrap_or(usize::MAX);
    let (context, prompt_tokens) = ask.prompt.read();
    // Words that follow from the prompt, as many as are wanted; what they say is of no account.
    let seed = Prompt::Text(format!("{:x}", context.number()).into());
    let thought = thinking.min(budget);
    let thoughts =
        model::say(&Ask { min_tokens: thought, max_tokens: Some(thought), ..Ask::new(seed) });
    let said = if budget > thinking {
        ask.max_tokens = ask.max_tokens.map(|most| most - thinking);
        mock.say(&ask).await?
    } else {
        Said::of_text(String::new(), "", End::Length, context, prompt_tokens)
    };
    Ok(Spoken { thoughts: Some(thoughts), said })
}
