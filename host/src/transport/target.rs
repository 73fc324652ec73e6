//! What a URL means for requests to it, found out once: a backend mostly asks at the same one, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use url::Url;

use super::lean::{AskHead, Pool};
use crate::plugin::action::HttpHead;

/// A URL that requests may go to.
pub(super) struct Target {
    /// The URL.
    pub(super) url: Url,
    /// Connections to its server, if that is of this machine and speaks plain http.
    pub(super) lean: Option<Arc<Pool>>,
    /// What was asked for last, and what its head came to with the secrets: mostly all requests have the same.
    last: Mutex<Option<(Arc<HttpHead>, Arc<AskHead>)>>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn new(url: Url, lean: Option<Arc<Pool>>) -> Self {
        Self { url, lean, last: Mutex::default() }
    }

    /// The head of a request to it; `make` makes it where it is not the last one's.
    pub(super) fn head<E>(
        &self,
        head: &Arc<HttpHead>,
        make: impl FnOnce() -> Result<AskHead, E>,
    ) -> Result<Arc<AskHead>, E> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Arc<HttpHead>| {
            Arc::ptr_eq(known, head)
                || (known.method == head.method && known.headers == head.headers)
        };
        if let Some((_, made)) = last().as_ref().filter(|(known, _)| same(known)) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(make()?);
        *last() = Some((Arc::clone(head), Arc::clone(&made)));
        Ok(made)
    }
}

/// The target that one backend asked last.
#[derive(Debug, Default)]
pub struct Targets(Mutex<Option<(String, Arc<Target>)>>);

impl Targets {
    /// That of a URL; `make` makes it where it is not the last one.
    pub(super) fn find<E>(
        &self,
        url: &str,
        make: impl FnOnce() -> Result<Target, E>,
    ) -> Result<Arc<Target>, E> {
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, target)) = last().as_ref().filter(|(text, _)| text == url) {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(make()?);
        *last() = Some((url.to_owned(), Arc::clone(&target)));
        Ok(target)
    }
}

/// The connections to all servers of this machine, by their address.
#[derive(Debug, Default)]
pub(super) struct Pools(Mutex<HashMap<String, Arc<Pool>>>);

impl Pools {
    /// Those to the server of a URL.
    pub(super) fn of(&self, url: &Url) -> Option<Arc<Pool>> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let server = url.origin().ascii_serialization();
        if let Some(pool) = pools.get(&server) {
            return Some(Arc::clone(pool));
        }
        let pool = Arc::new(Pool::new(url)?);
        pools.insert(server, Arc::clone(&pool));
        Some(pool)
    }
}
