//! vLLM's server, whatever the model is called: `/completions` scores prompts (`echo`, `prompt_logprobs`), its own
//! parameters are taken and its errors are its own. A model whose name has `think` in it thinks first.
//!
//! The routes are those of [`super::openai`], where models whose names begin with `vllm-` are answered alike.

use super::{
    hosted::{Dialect, trouble},
    openai,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    server::Mock,
};

/// The wire.
pub(crate) struct Vllm;

impl Wire for Vllm {
    fn guarded(&self, asked: &Asked<'_>) -> bool {
        openai::guarded(asked)
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        openai::asks_for_text(asked)
    }

    fn trouble(&self, _: &Asked<'_>, failed: &Trouble) -> Answer {
        trouble(Dialect::Vllm, failed)
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(openai::serve(Dialect::Vllm, asked, mock))
    }
}
