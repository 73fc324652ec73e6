//! Text Generation Inference 3.3.

use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    server::Mock,
};

/// The wire.
pub(crate) struct Tgi;

impl Wire for Tgi {
    fn generates(&self, asked: &Asked<'_>) -> bool {
        asked.path == "/generate"
    }

    fn trouble(&self, _asked: &Asked<'_>, _trouble: &Trouble) -> Answer {
        Answer::empty(503)
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, _mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move {
            match asked.path {
                "/health" => Answer::empty(200),
                _ => Answer::empty(404),
            }
        })
    }
}
