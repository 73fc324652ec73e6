//! Moonshot (Kimi): OpenAI's chat with temperatures from 0 to 1, only 1 for models that think, text messages only for
//! models that see nothing, and the thinking in `reasoning_content` (`wire.md` 4.5).

use super::{
    hosted::{Dialect, Refusal, trouble},
    openai,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    server::Mock,
};

/// The wire.
pub(crate) struct Moonshot;

impl Wire for Moonshot {
    fn generates(&self, asked: &Asked<'_>) -> bool {
        openai::asks_for_text(asked)
    }

    fn trouble(&self, _: &Asked<'_>, failed: &Trouble) -> Answer {
        trouble(Dialect::Moonshot, failed)
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move {
            if openai::route(&asked) == "/completions" {
                return Dialect::Moonshot.refuse(&Refusal::no_route(&asked));
            }
            openai::answer(Dialect::Moonshot, asked, mock).await
        })
    }
}
