//! Where requests were to go that must not: kept until the run tells of it, each origin once, however often a plugin
//! tries.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// A plugin may make up names without end; so many of them are told.
const MOST: usize = 64;

/// Origins that requests of one backend were kept from.
#[derive(Debug, Default)]
pub struct Strays(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: BTreeSet<String>,
    untold: Vec<String>,
}

impl Strays {
    /// A request was to go there.
    pub(super) fn note(&self, origin: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.all.len() < MOST && known.all.insert(origin.to_owned()) {
            known.untold.push(origin.to_owned());
        }
    }

    /// Those that are new since this was asked last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_is_told_once_and_not_without_end() {
        let strays = Strays::default();
        for origin in ["https://a.org", "https://b.org", "https://a.org"] {
            strays.note(origin);
        }
        assert_eq!(strays.take(), ["https://a.org", "https://b.org"]);
        strays.note("https://b.org");
        assert!(strays.take().is_empty());
        (0..1000).for_each(|number| strays.note(&format!("https://{number}.org")));
        assert_eq!(strays.take().len(), MOST - 2);
    }
}
