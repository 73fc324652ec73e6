//! Which ids came before, in memory that hardly grows: what is older lies sorted in a file, and a filter of ten bits an
//! id says of almost every new one that it is not there.

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt};

/// Ids that are kept in memory, and that are written to the file together.
const RUN: usize = 1 << 14;
/// Bytes of an id's hash.
const WIDTH: usize = 16;
/// Bits of the filter for each id: with [`PROBES`] of them one new id in a hundred is looked for in vain.
const BITS: u64 = 10;
/// Bits that an id sets.
const PROBES: u64 = 6;

/// Ids, by 128 bits of their hash.
#[derive(Debug, Default)]
pub(super) struct Seen {
    recent: HashSet<u128>,
    /// Whether no more are written to the file.
    keeps_all: bool,
    /// Runs that lie one after the other, each sorted.
    file: Option<File>,
    filters: Vec<Filter>,
}

/// Says of an id that is not in a run that it is not, mostly.
#[derive(Debug)]
struct Filter(Box<[u64]>);

impl Seen {
    /// Notes an id. False if it was there before.
    ///
    /// # Errors
    /// The file for older ids cannot be read.
    pub(super) fn insert(&mut self, id: u128) -> io::Result<bool> {
        if !self.recent.insert(id) || self.is_older(id)? {
            return Ok(false);
        }
        // Where no file can be had they all stay in memory.
        if self.recent.len() >= RUN && !self.keeps_all {
            self.keeps_all = self.write_run().is_err();
        }
        Ok(true)
    }

    fn is_older(&self, id: u128) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        for (run, filter) in self.filters.iter().enumerate() {
            if filter.may_have(id) && is_in_run(file, run, id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write_run(&mut self) -> io::Result<()> {
        let mut ids: Vec<u128> = self.recent.iter().copied().collect();
        ids.sort_unstable();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.write_all_at(&bytes, (self.filters.len() * RUN * WIDTH) as u64)?;
        self.filters.push(Filter::of(&ids));
        self.recent.clear();
        Ok(())
    }
}

/// Looks for an id in the sorted run of this number.
fn is_in_run(file: &File, run: usize, id: u128) -> io::Result<bool> {
    let (mut low, mut high) = (0, RUN);
    while low < high {
        let middle = low.midpoint(high);
        let mut bytes = [0; WIDTH];
        file.read_exact_at(&mut bytes, ((run * RUN + middle) * WIDTH) as u64)?;
        match u128::from_le_bytes(bytes).cmp(&id) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

impl Filter {
    fn of(ids: &[u128]) -> Self {
        let words = (ids.len() as u64 * BITS).div_ceil(64).max(1);
        let mut words = vec![0_u64; usize::try_from(words).unwrap_or(1)].into_boxed_slice();
        for &id in ids {
            for bit in bits(id, words.len()) {
                if let Some(word) = words.get_mut(bit / 64) {
                    *word |= 1 << (bit % 64);
                }
            }
        }
        Self(words)
    }

    fn may_have(&self, id: u128) -> bool {
        bits(id, self.0.len())
            .all(|bit| self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1))
    }
}

/// The bits that an id sets in a filter of so many words: its hash is as good as random, so two halves of it suffice.
#[allow(
    clippy::cast_possible_truncation,
    reason = "halves of a hash, and a bit of a filter in memory"
)]
fn bits(id: u128, words: usize) -> impl Iterator<Item = usize> {
    let (first, step) = (id as u64, (id >> 64) as u64 | 1);
    let bits = words as u64 * 64;
    (0..PROBES).map(move |probe| (first.wrapping_add(step.wrapping_mul(probe)) % bits) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> u128 {
        let hash = blake3::hash(&number.to_le_bytes());
        u128::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
    }

    #[test]
    fn an_id_is_known_again_however_long_ago_it_came() {
        let mut seen = Seen::default();
        let many = 3 * RUN as u64 + 17;
        assert!((0..many).all(|number| seen.insert(id(number)).unwrap()));
        assert_eq!(seen.filters.len(), 3);
        for number in [0, 1, RUN as u64 - 1, RUN as u64, 2 * RUN as u64 + 5, many - 1] {
            assert!(!seen.insert(id(number)).unwrap(), "{number}");
        }
        assert!(seen.insert(id(many)).unwrap());
    }

    #[test]
    fn the_filter_forgets_nothing_and_seldom_errs() {
        let ids: Vec<u128> = (0..RUN as u64).map(id).collect();
        let filter = Filter::of(&ids);
        assert!(ids.iter().all(|id| filter.may_have(*id)));
        let wrong = (RUN as u64..2 * RUN as u64).filter(|number| filter.may_have(id(*number)));
        assert!(wrong.count() < RUN / 50);
    }
}
