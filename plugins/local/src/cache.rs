//! Keys and values of the tokens seen so far.
//!
//! The cached tokens form a tree, not a list: the continuations of one context share its rows and fork after it. A
//! row knows its parent, and may attend to itself and its ancestors only.

use candle_core::{DType, Device, Result, Tensor};

use crate::hyperparameters::Hyperparameters;

/// One token to be computed, and the place in the cache that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Token id.
    pub token: u32,
    /// Cache row that this token follows; `None` for the first token of a sequence.
    pub parent: Option<usize>,
}

/// Keys and values per block, `[key_value_heads, capacity, head_width]`, and the tree over the rows.
///
/// A row takes `2 * blocks * key_value_heads * head_width * 4` bytes, 46 KB for SmolLM2-135M.
pub struct Cache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    parents: Vec<Option<usize>>,
    /// Distance from the root, which is the rotary position.
    positions: Vec<usize>,
    capacity: usize,
}

impl Cache {
    /// An empty cache for a model of these sizes.
    ///
    /// # Errors
    /// When memory cannot be laid out.
    pub fn new(sizes: &Hyperparameters, capacity: usize) -> Result<Self> {
        let capacity = capacity.max(16);
        let shape = (sizes.key_value_heads, capacity, sizes.head_width);
        let zeros = || {
            (0..sizes.blocks)
                .map(|_| Tensor::zeros(shape, DType::F32, &Device::Cpu))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            keys: zeros()?,
            values: zeros()?,
            parents: Vec::new(),
            positions: Vec::new(),
            capacity,
        })
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// Forgets every row from `length` on; no remaining row may descend from those.
    pub fn truncate(&mut self, length: usize) {
        self.parents.truncate(length);
        self.positions.truncate(length);
    }

    /// Enters `rows` into the tree, with room for their keys and values, and returns their positions.
    ///
    /// # Errors
    /// When a parent is neither cached nor an earlier one of `rows`.
    pub fn append(&mut self, rows: &[Row]) -> Result<Vec<usize>> {
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
        self.reserve(self.len())?;
        Ok(self.positions.get(start..).unwrap_or_default().to_vec())
    }

    /// What the rows from `start` on may see: `[rows, len]`, 0 where visible and minus infinity where not.
    pub fn visibility(&self, start: usize) -> Vec<f32> {
        let length = self.len();
        let mut bias = vec![f32::NEG_INFINITY; (length - start.min(length)) * length];
        for (offset, line) in bias.chunks_exact_mut(length.max(1)).enumerate() {
            let mut cursor = Some(start + offset);
            while let Some(row) = cursor {
                if let Some(cell) = line.get_mut(row) {
                    *cell = 0.0;
                }
                cursor = self.parents.get(row).copied().flatten();
            }
        }
        bias
    }

    /// Stores keys and values, `[key_value_heads, rows, head_width]` each, of a block's rows from `start` on.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn store(&self, block: usize, start: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.of(&self.keys, block)?.slice_set(keys, 1, start)?;
        self.of(&self.values, block)?.slice_set(values, 1, start)
    }

    /// Keys and values of a block's rows, `[key_value_heads, len, head_width]` each.
    ///
    /// # Errors
    /// When there is no such block.
    pub fn block(&self, block: usize) -> Result<(Tensor, Tensor)> {
        let length = self.len();
        Ok((
            self.of(&self.keys, block)?.narrow(1, 0, length)?,
            self.of(&self.values, block)?.narrow(1, 0, length)?,
        ))
    }

    fn of<'a>(&self, tensors: &'a [Tensor], block: usize) -> Result<&'a Tensor> {
        tensors
            .get(block)
            .ok_or_else(|| candle_core::Error::Msg(format!("the cache has no block {block}")))
    }

    fn reserve(&mut self, rows: usize) -> Result<()> {
        if rows <= self.capacity {
            return Ok(());
        }
        let capacity = rows.max(self.capacity * 2);
        for tensor in self.keys.iter_mut().chain(&mut self.values) {
            let (heads, old, width) = tensor.dims3()?;
            let grown = Tensor::zeros((heads, capacity, width), DType::F32, &Device::Cpu)?;
            grown.slice_set(&tensor.narrow(1, 0, old)?, 1, 0)?;
            *tensor = grown;
        }
        self.capacity = capacity;
        Ok(())
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
        let mut cache = Cache::new(&sizes, 0).unwrap();
        let rows: Vec<Row> = parents
            .iter()
            .map(|parent| Row {
                token: 0,
                parent: *parent,
            })
            .collect();
        cache.append(&rows).unwrap();
        cache
    }

    #[test]
    fn a_row_sees_itself_and_its_ancestors_only() {
        let cache = cache(&[None, Some(0), Some(1), Some(1)]);
        let seen: Vec<String> = cache
            .visibility(1)
            .chunks(4)
            .map(|line| {
                line.iter()
                    .map(|bias| if *bias == 0.0 { 'x' } else { '.' })
                    .collect()
            })
            .collect();
        assert_eq!(seen, ["xx..", "xxx.", "xx.x"]);
    }

    #[test]
    fn siblings_share_a_position() {
        let mut cache = cache(&[None, Some(0)]);
        let rows = [
            Row {
                token: 0,
                parent: Some(1),
            },
            Row {
                token: 0,
                parent: Some(1),
            },
        ];
        assert_eq!(cache.append(&rows).unwrap(), [2, 2]);
    }

    #[test]
    fn growing_keeps_what_was_stored() {
        let mut cache = cache(&[None]);
        let stored = Tensor::new(&[[[3.0f32, 4.0]]], &Device::Cpu).unwrap();
        cache.store(0, 0, &stored, &stored).unwrap();
        cache
            .append(&vec![
                Row {
                    token: 0,
                    parent: Some(0)
                };
                40
            ])
            .unwrap();
        let (keys, _) = cache.block(0).unwrap();
        assert_eq!(keys.dims(), [1, 41, 2]);
        assert_eq!(
            keys.narrow(1, 0, 1)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap(),
            [3.0, 4.0]
        );
    }

    #[test]
    fn a_parent_must_come_first() {
        let mut cache = cache(&[None]);
        assert!(
            cache
                .append(&[Row {
                    token: 0,
                    parent: Some(1)
                }])
                .is_err()
        );
    }
}
