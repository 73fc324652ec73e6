//! The server that answers a plugin while it is looked at. It is asked each thing once: what it said is kept, so that a
//! conversation can be held again and again.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::replies::{Reply, Whole};
use crate::{
    plugin::action::HttpCall,
    transport::{Access, Response, Transport, TransportError},
};

/// A server, with what may be sent to it.
pub struct Server {
    transport: Transport,
    access: Access,
    kept: Mutex<Vec<(Asked, Whole)>>,
}

/// What a request is told from others by.
#[derive(PartialEq, Eq)]
struct Asked {
    method: String,
    url: String,
    body: Vec<u8>,
    stream: bool,
}

impl Server {
    /// A server that is reached with this.
    pub fn new(transport: Transport, access: Access) -> Self {
        Self { transport, access, kept: Mutex::default() }
    }

    /// What it answers.
    pub(super) async fn ask(&self, call: HttpCall) -> Reply {
        let asked = Asked {
            method: call.method.clone(),
            url: call.url.clone(),
            body: call.body.as_slice().to_vec(),
            stream: call.stream,
        };
        if let Some(whole) = self.kept(&asked) {
            return Reply::Whole(whole);
        }
        match self.send(call).await {
            Ok(whole) => {
                if whole.status < 400 {
                    let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push((asked, whole.clone()));
                }
                Reply::Whole(whole)
            }
            Err(error) => Reply::Broken { kind: error.kind, message: error.message },
        }
    }

    fn kept(&self, asked: &Asked) -> Option<Whole> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(before, _)| before == asked).map(|(_, whole)| whole.clone())
    }

    async fn send(&self, call: HttpCall) -> Result<Whole, TransportError> {
        let Response { status, headers, body, .. } =
            self.transport.send(call, &self.access).await?;
        let body: Bytes = body.whole().await?;
        Ok(Whole { status, headers, body })
    }
}
