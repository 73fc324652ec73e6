//! What a run has spent of its budget, over all its backends. Knows when to stop, and why. Reads no clock.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::budget::{Budget, Used};
use crate::config;

/// The budget of a run that is going on.
#[derive(Debug)]
pub struct Spending {
    budget: Mutex<Budget>,
    started: Instant,
    spent: OnceLock<String>,
    /// Told once the budget is spent.
    told: Notify,
}

impl Spending {
    /// A budget of a run that began, or was taken up again, at this time.
    pub fn new(budget: Budget, started: Instant) -> Self {
        let (spent, told) = (OnceLock::new(), Notify::new());
        Self { budget: Mutex::new(budget), started, spent, told }
    }

    /// What may be spent.
    pub fn allowed(&self) -> config::Budget {
        self.budget().allowed()
    }

    /// Counts a sample that finished now. True if the run must end: no more samples are to be begun.
    pub fn add(&self, now: Instant, used: &Used) -> bool {
        let mut budget = self.budget();
        budget.add(used);
        self.look(&budget, now);
        self.is_spent()
    }

    /// Whether the run's time is over, which passes whether samples finish or not.
    pub fn is_over(&self, now: Instant) -> bool {
        let budget = self.budget();
        let is_over = budget.wall_left(self.elapsed(now)).is_some_and(|left| left.is_zero());
        if is_over {
            self.look(&budget, now);
        }
        is_over
    }

    /// Whether the run must end.
    pub fn is_spent(&self) -> bool {
        self.spent.get().is_some()
    }

    /// Waits until the budget is spent; for ever, if it never is.
    pub async fn spent(&self) {
        let mut told = std::pin::pin!(self.told.notified());
        // Whoever is told from now on is heard; what was told before shows.
        told.as_mut().enable();
        if !self.is_spent() {
            told.await;
        }
    }

    /// Why, in words for the user.
    pub fn why(&self) -> Option<&str> {
        self.spent.get().map(String::as_str)
    }

    fn look(&self, budget: &Budget, now: Instant) {
        if let Some(spent) = budget.check(self.elapsed(now))
            && self.spent.set(spent.to_string()).is_ok()
        {
            self.told.notify_waiters();
        }
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Used = Used { usd_nanos: 0, tokens: 10, scored: true };

    fn spending(max_tokens: Option<u64>, max_wall: Option<Duration>, began: Instant) -> Spending {
        let (max_usd, max_error_rate) = (None, None);
        let allowed =
            config::Budget { max_usd, max_tokens, max_wall, max_error_rate, min_samples: 1 };
        Spending::new(Budget::new(allowed), began)
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_the_budget_is_told_at_once() {
        let began = Instant::now();
        let spending = spending(Some(20), None, began);
        assert!(!spending.add(began, &TEN));
        let told = spending.spent();
        tokio::pin!(told);
        assert!(futures_now(told.as_mut()).await.is_none());
        assert!(spending.add(began, &TEN));
        told.await;
        // And who asks later.
        spending.spent().await;
        assert_eq!(spending.why(), Some("budget.max_tokens: 20 of 20 tokens are used"));
    }

    #[test]
    fn the_first_reason_stays_and_time_is_counted_from_the_start() {
        let began = Instant::now();
        let minute = Duration::from_secs(60);
        let spending = spending(Some(10), Some(minute), began);
        assert!(!spending.is_over(began + minute / 2));
        assert!(spending.is_over(began + minute));
        assert!(spending.add(began + minute, &TEN));
        assert_eq!(spending.why(), Some("budget.max_wall: the run's time (1m) is over"));
    }

    /// What a future says now.
    async fn futures_now<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
