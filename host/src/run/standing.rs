//! How far each task at each backend is, for who asks while the run goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    control::UnitStatus,
    event::{Event, Reporter, UnitName},
};
use crate::store::record::Status;

/// Counts finished samples as they are told.
#[derive(Debug, Default)]
pub struct Tracker(Mutex<Vec<UnitStatus>>);

impl Tracker {
    /// How far each is, in the order of the plan.
    pub fn units(&self) -> Vec<UnitStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<UnitStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &UnitName, change: impl FnOnce(&mut UnitStatus)) {
        let mut units = self.lock();
        let is_it = |unit: &&mut UnitStatus| unit.task == name.task && unit.backend == name.backend;
        units.iter_mut().find(is_it).map(change);
    }
}

/// Feeds a [`Tracker`].
pub struct Tracking(pub Arc<Tracker>);

impl Reporter for Tracking {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Launch { units, .. } => {
                let status = units.iter().map(|unit| UnitStatus {
                    task: unit.task.clone(),
                    backend: unit.backend.clone(),
                    finished: unit.done,
                    unscored: 0,
                    samples: unit.samples,
                });
                *self.0.lock() = status.collect();
            }
            Event::Sample { unit, status, .. } => self.0.change(unit, |one| {
                one.finished += 1;
                one.unscored += u64::from(*status != Status::Scored);
            }),
            Event::Read { unit, samples } => {
                // What was finished before is not handed out again.
                self.0.change(unit, |one| one.samples = Some(*samples));
            }
            _ => {}
        }
    }
}
