//! Keys and values of the tokens seen so far.
//!
//! The cached tokens form a tree, not a list: the continuations of one context share its rows and fork after it. A
//! row knows its parent, and may attend to itself and its ancestors only.

use candle_core::Result;

use crate::hyperparameters::Hyperparameters;

/// One token to be computed, and the place in the cache that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Token id.
    pub token: u32,
    /// Cache row that this token follows; `None` for the first token of a sequence.
    pub parent: Option<usize>,
}

/// Keys and values, rounded to 16 bits, and the tree over the rows.
///
/// A row takes `2 * blocks * key_value_heads * head_width * 4` bytes, 46 KB for SmolLM2-135M.
pub(crate) struct Cache {
    /// By block, `[rows, key_value_heads * head_width]`.
    blocks: Vec<Stored>,
    width: usize,
    parents: Vec<Option<usize>>,
    /// Distance from the root, which is the rotary position.
    positions: Vec<usize>,
}

#[derive(Default, Clone)]
struct Stored {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    /// An empty cache for a model of these sizes, with room for some rows.
    pub(crate) fn new(sizes: &Hyperparameters, rows: usize) -> Self {
        let width = sizes.key_value_heads * sizes.head_width;
        let room = || Vec::with_capacity(rows * width);
        let blocks = (0..sizes.blocks).map(|_| Stored { keys: room(), values: room() });
        Self { blocks: blocks.collect(), width, parents: Vec::new(), positions: Vec::new() }
    }

    /// Rows held.
    pub(crate) fn len(&self) -> usize {
        self.parents.len()
    }

    /// Forgets every row from `length` on; no remaining row may descend from those.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.parents.truncate(length);
        self.positions.truncate(length);
        for block in &mut self.blocks {
            block.keys.truncate(length * self.width);
            block.values.truncate(length * self.width);
        }
    }

    /// Enters `rows` into the tree and returns their positions.
    ///
    /// # Errors
    /// When a parent is neither cached nor an earlier one of `rows`.
    pub(crate) fn append(&mut self, rows: &[Row]) -> Result<Vec<usize>> {
        let start = self.len();
        for row in rows {
            let position = match row.parent {
                None => 0,
                Some(parent) => match self.positions.get(parent) {
                    Some(position) => position + 1,
                    None => candle_core::bail!(
                        "row {} has the parent {parent}, which comes later",
                        self.len()
                    ),
                },
            };
            self.parents.push(row.parent);
            self.positions.push(position);
        }
        Ok(self.positions.get(start..).unwrap_or_default().to_vec())
    }

    /// What a row may see, itself last: a cached row for each position.
    pub(crate) fn path(&self, row: usize) -> Vec<usize> {
        let parent = |row: &usize| self.parents.get(*row).copied().flatten();
        let mut path: Vec<usize> = std::iter::successors(Some(row), parent).collect();
        path.reverse();
        path
    }

    /// Appends keys and values of a block's rows, `[rows, key_value_heads * head_width]` each, rounded to 16 bits.
    pub(crate) fn store(&mut self, block: usize, keys: &[f32], values: &[f32]) {
        if let Some(stored) = self.blocks.get_mut(block) {
            stored.keys.extend_from_slice(keys);
            stored.values.extend_from_slice(values);
        }
    }

    /// Keys and values of a block's rows so far, `[rows, key_value_heads * head_width]` each.
    pub(crate) fn block(&self, block: usize) -> (&[f32], &[f32]) {
        self.blocks.get(block).map_or((&[], &[]), |stored| (&stored.keys, &stored.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(parents: &[Option<usize>]) -> Cache {
        let sizes = Hyperparameters {
            blocks: 1,
            context_length_tokens: 8,
            embedding_width: 2,
            feed_forward_width: 2,
            heads: 1,
            key_value_heads: 1,
            head_width: 2,
            rotary_width: 2,
            rotary_base: 1.0,
            norm_epsilon: 0.0,
        };
        let mut cache = Cache::new(&sizes, 0);
        let rows: Vec<Row> =
            parents.iter().map(|parent| Row { token: 0, parent: *parent }).collect();
        cache.append(&rows).unwrap();
        cache
    }

    #[test]
    fn a_row_sees_itself_and_its_ancestors_only() {
        let cache = cache(&[None, Some(0), Some(1), Some(1), Some(3)]);
        assert_eq!(cache.path(0), [0]);
        assert_eq!(cache.path(2), [0, 1, 2]);
        assert_eq!(cache.path(4), [0, 1, 3, 4]);
    }

    #[test]
    fn siblings_share_a_position() {
        let mut cache = cache(&[None, Some(0)]);
        let row = Row { token: 0, parent: Some(1) };
        assert_eq!(cache.append(&[row, row]).unwrap(), [2, 2]);
    }

    #[test]
    fn truncating_forgets_keys_and_values() {
        let mut cache = cache(&[None, Some(0)]);
        cache.store(0, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
        cache.truncate(1);
        assert_eq!(cache.block(0), (&[1.0, 2.0][..], &[5.0, 6.0][..]));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_parent_must_come_first() {
        let mut cache = cache(&[None]);
        assert!(cache.append(&[Row { token: 0, parent: Some(1) }]).is_err());
    }
}
