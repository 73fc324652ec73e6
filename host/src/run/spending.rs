//! What a run has spent of its budget, over all its backends. Knows when to stop, and why.

use std::sync::{Mutex, OnceLock, PoisonError};

use plugin_api::Error;
use tokio::time::Instant;

use super::{budget::Budget, grade::Graded};
use crate::store::record::Tokens;

/// The budget of a run that is going on.
#[derive(Debug)]
pub struct Spending {
    budget: Mutex<Budget>,
    started: Instant,
    spent: OnceLock<String>,
}

impl Spending {
    /// A budget of which `budget` is what is left, or is not bounded.
    pub fn new(budget: Budget) -> Self {
        Self { budget: Mutex::new(budget), started: Instant::now(), spent: OnceLock::new() }
    }

    /// Counts a finished sample; one that the cache answered costs nothing. True if the run must end now: no more
    /// samples are to be begun.
    pub fn add(&self, result: &Result<Graded, Error>, cached: bool) -> bool {
        let (usage, scored) = match result {
            Ok(graded) if cached => (Tokens::default(), graded.outcome.is_ok()),
            Ok(graded) => (graded.usage, graded.outcome.is_ok()),
            Err(_) => (Tokens::default(), false),
        };
        let tokens = usage.prompt.saturating_add(usage.completion);
        let spent = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.add(usage.cost_usd_nanos.unwrap_or(0), tokens, scored);
            budget.check(self.started.elapsed())
        };
        if let Some(spent) = spent {
            let _ = self.spent.set(spent.to_string());
        }
        self.is_spent()
    }

    /// Whether the run's time is over, which passes whether samples finish or not.
    pub fn is_over(&self) -> bool {
        let elapsed = self.started.elapsed();
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = budget.wall_left(elapsed).is_some_and(|left| left.is_zero());
        if is_over && let Some(spent) = budget.check(elapsed) {
            let _ = self.spent.set(spent.to_string());
        }
        is_over
    }

    /// Whether the run must end.
    pub fn is_spent(&self) -> bool {
        self.spent.get().is_some()
    }

    /// Why, in words for the user.
    pub fn why(&self) -> Option<&str> {
        self.spent.get().map(String::as_str)
    }
}
