//! Which samples of a unit were done by an earlier process: 64 bits of a digest a record, and a bit a repeat.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    store::bits::Bits,
    task::{
        sample::Sample,
        stream::{SampleStream, Wanted},
    },
};

/// The samples of one unit that are not asked again.
#[derive(Debug)]
pub struct Done {
    repeats: u32,
    done: Bits,
    /// By record, the digest that its answers belong to; 0 where there is no answer.
    digests: Vec<u64>,
    count: u64,
}

/// Whether the answers that there are belong to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// At least one of its repeats is to be asked.
    Open,
    /// All of its repeats are done.
    Done,
    /// There are answers, and they are of another sample.
    Changed,
}

impl Done {
    /// Nothing is done.
    pub fn nothing(repeats: NonZeroU32) -> Self {
        Self { repeats: repeats.get(), done: Bits::default(), digests: Vec::new(), count: 0 }
    }

    /// Notes that a repeat of a record is done, whose digest began so.
    pub fn add(&mut self, index: u64, repeat: u32, digest: u64) {
        if self.done.set(self.bit(index, repeat)) {
            self.count += 1;
        }
        let Ok(index) = usize::try_from(index) else { return };
        if self.digests.len() <= index {
            self.digests.resize(index + 1, 0);
        }
        if let Some(kept) = self.digests.get_mut(index) {
            *kept = digest;
        }
    }

    /// How many repeats of samples are done.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether a repeat of a record is done.
    fn has(&self, index: u64, repeat: u32) -> bool {
        self.done.get(self.bit(index, repeat))
    }

    /// The number of a repeat of a record among all.
    pub fn bit(&self, index: u64, repeat: u32) -> u64 {
        index.saturating_mul(self.repeats.into()).saturating_add(repeat.into())
    }

    /// A unit's samples without those that are done.
    pub fn leave_out(self: &Arc<Self>, samples: SampleStream) -> SampleStream {
        if self.count == 0 {
            return samples;
        }
        let done = Arc::clone(self);
        samples.choose(move |sample| match done.of(sample) {
            Standing::Open => Wanted::Yes,
            Standing::Done => Wanted::No,
            Standing::Changed => Wanted::Changed,
        })
    }

    /// The repeats of a sample that are to be asked.
    pub fn missing(&self, sample: &Sample) -> impl Iterator<Item = u32> + '_ {
        let index = sample.index;
        (0..self.repeats).filter(move |repeat| !self.has(index, *repeat))
    }

    /// How a sample stands.
    pub fn of(&self, sample: &Sample) -> Standing {
        let kept = usize::try_from(sample.index).ok().and_then(|index| self.digests.get(index));
        match kept {
            None | Some(0) => Standing::Open,
            Some(kept) if *kept != sample.digest.short() => Standing::Changed,
            Some(_) => {
                let is_open = self.missing(sample).next().is_some();
                if is_open { Standing::Open } else { Standing::Done }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::sample::{Digest, SampleId};

    #[test]
    fn a_sample_is_done_with_its_last_repeat_and_known_by_its_digest() {
        let sample = |index: u64, byte: u8| Sample {
            id: SampleId(index.to_string()),
            index,
            record: serde_json::Map::new(),
            digest: Digest([byte; 32]),
            cluster: None,
        };
        let mut done = Done::nothing(NonZeroU32::new(3).unwrap());
        let digest = Digest([1; 32]).short();
        for (index, repeat) in [(5, 0), (5, 1), (5, 1), (40, 2)] {
            done.add(index, repeat, digest);
        }
        assert_eq!(done.count(), 3);
        assert_eq!(done.of(&sample(5, 1)), Standing::Open);
        done.add(5, 2, digest);
        assert_eq!(done.of(&sample(5, 1)), Standing::Done);
        assert_eq!(done.of(&sample(5, 2)), Standing::Changed);
        assert_eq!(done.of(&sample(40, 1)), Standing::Open);
        assert_eq!(done.of(&sample(6, 2)), Standing::Open);
        assert_eq!(done.of(&sample(4000, 2)), Standing::Open);
        assert!(done.has(40, 2) && !done.has(40, 0) && !done.has(6, 0));
    }
}
