//! When a step of a plugin that only translates is given up. Its steps wait for each other, so one that was sent before
//! may take its time, and while such are answered this one has to wait. A script may answer a later step first, but
//! may not leave an earlier one behind for longer than the limit. Knows no worker but by its counts.

use std::{
    fmt, mem,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::sleep;

/// The steps of a worker, numbered from 1 in the order in which they are sent, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Served {
    sent: AtomicU64,
    answered: AtomicU64,
    /// The latest one of those that were answered.
    latest: AtomicU64,
}

impl Served {
    /// The number of a step that is about to be sent.
    pub(super) fn number(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The highest number so far. A step that is numbered after this has a higher one.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// A step was answered, and is known to be.
    pub(super) fn answer(&self, number: u64) {
        self.latest.fetch_max(number, Ordering::AcqRel);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Why there is no hope for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing at all was answered for so long.
    Stuck(Duration),
    /// It was not answered for so long, and one that was sent later was.
    LeftBehind(Duration),
}

impl fmt::Display for Overdue {
    /// In words that go on after the worker's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, limit, after) = match self {
            Self::Stuck(limit) => ("was stuck in a step", limit, ""),
            Self::LeftBehind(limit) => {
                ("left a step without an answer", limit, ", though it answered later ones,")
            }
        };
        let limit = humantime::format_duration(*limit);
        write!(f, "{before} for more than {limit}{after} and was ended")
    }
}

/// Waits until a step is overdue; `sent` is what [`Served::sent`] gave once it was sent. None if `is_due` says by then
/// that it is not waited for any more.
pub(super) async fn overdue(
    limit: Duration,
    sent: u64,
    served: &Served,
    is_due: impl Fn() -> bool,
) -> Option<Overdue> {
    let mut answered = served.answered();
    loop {
        sleep(limit).await;
        let is_left_behind = served.latest.load(Ordering::Acquire) > sent;
        let before = mem::replace(&mut answered, served.answered());
        // Looked at last: where steps are answered in order, this one was before any later one.
        if !is_due() {
            return None;
        }
        if is_left_behind {
            return Some(Overdue::LeftBehind(limit));
        }
        if answered == before {
            return Some(Overdue::Stuck(limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// What becomes of the third of six steps, when those of these numbers are answered one after the other, one every
    /// six seconds.
    async fn third_of_six(answers: &[u64]) -> (Option<Overdue>, u64) {
        let served = Served::default();
        (1..=3).for_each(|number| assert_eq!(served.number(), number));
        let sent = served.sent();
        (4..=6).for_each(|number| assert_eq!(served.number(), number));
        let is_due = AtomicU64::new(1);
        let answering = async {
            for number in answers {
                sleep(Duration::from_secs(6)).await;
                if *number == 3 {
                    is_due.store(0, Ordering::Relaxed);
                }
                served.answer(*number);
            }
            std::future::pending::<()>().await;
        };
        let began = tokio::time::Instant::now();
        let overdue = tokio::select! {
            () = answering => None,
            overdue = overdue(LIMIT, sent, &served, || is_due.load(Ordering::Relaxed) > 0) => overdue,
        };
        (overdue, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_waits_for_those_before_it_and_for_no_other() {
        let (stuck, left_behind) = (Overdue::Stuck(LIMIT), Overdue::LeftBehind(LIMIT));
        for (answers, expected, seconds) in [
            (&[][..], Some(stuck), 10),
            (&[1], Some(stuck), 20),
            (&[1, 2], Some(stuck), 30),
            (&[1, 2, 3], None, 20),
            (&[3], None, 10),
            (&[4], Some(left_behind), 10),
            (&[1, 2, 4], Some(left_behind), 20),
            (&[4, 5, 3], Some(left_behind), 10),
            // Out of order, but soon enough.
            (&[1, 4, 3], None, 20),
        ] {
            assert_eq!(third_of_six(answers).await, (expected, seconds), "{answers:?}");
        }
    }

    #[test]
    fn it_is_told_in_words() {
        let told = Overdue::LeftBehind(LIMIT).to_string();
        assert_eq!(
            told,
            "left a step without an answer for more than 10s, though it answered later ones, and was ended"
        );
        assert_eq!(
            Overdue::Stuck(LIMIT).to_string(),
            "was stuck in a step for more than 10s and was ended"
        );
    }
}
