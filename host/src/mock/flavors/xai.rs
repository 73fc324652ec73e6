//! xAI (Grok): OpenAI's shape with errors of its own (`{"code", "error"}`), models that take no stop texts and no
//! penalties, and completion tokens that leave out those of the thinking (`wire.md` 4.5).

use hyper::HeaderMap;

use super::{
    hosted::{Dialect, tell_allowance, trouble},
    openai,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    pace::Allowance,
    server::Mock,
};

/// The wire.
pub(crate) struct Xai;

impl Wire for Xai {
    fn generates(&self, asked: &Asked<'_>) -> bool {
        openai::asks_for_text(asked)
    }

    fn trouble(&self, _: &Asked<'_>, failed: &Trouble) -> Answer {
        trouble(Dialect::Xai, failed)
    }

    fn tell_allowance(&self, headers: &mut HeaderMap, allowance: &Allowance) {
        tell_allowance(headers, allowance);
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(openai::answer(Dialect::Xai, asked, mock))
    }
}
