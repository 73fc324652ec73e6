//! Which rows to compute so that several continuations of one context are scored.
//!
//! The context is computed once. Continuations that begin alike share rows too: they form a trie below the context's
//! last token. The last token of a continuation needs no row, since nothing follows it. All rows go through the
//! model together, kept apart by the cache's visibility, because bigger matrices multiply faster.

use std::collections::HashMap;

use crate::cache::Row;
use crate::projection::Target;

/// Rows in the trie after which the remaining continuations start a new group, so that the cache stays bounded.
const GROUP_ROWS: usize = 1024;

/// Rows to append to a cache, and what is asked about them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Rows, parents first; a row's index in the cache is its index here plus `first_row`.
    pub rows: Vec<Row>,
    /// Length of the cache when this plan starts.
    pub first_row: usize,
    /// Targets, by index into the cache's rows.
    pub targets: Vec<Target>,
    /// For each target, the continuation it belongs to.
    pub owners: Vec<usize>,
}

/// Plans the scoring of `continuations` after `context`.
///
/// Carry the plans out in order, truncating the cache to the context before every one but the first. Within all
/// plans together, a continuation's targets come in the order of its tokens.
pub(crate) fn continuations(context: &[u32], continuations: &[&[u32]]) -> Vec<Plan> {
    let mut plan = Plan { rows: linear(context), ..Plan::default() };
    let Some(fork) = context.len().checked_sub(1) else {
        return vec![plan];
    };
    // Every first token is asked of the context's last row, which only the first plan computes.
    for (owner, tokens) in continuations.iter().enumerate() {
        if let Some(token) = tokens.first() {
            plan.target(fork, *token, owner);
        }
    }
    let mut plans = Vec::new();
    let mut children: HashMap<(usize, u32), usize> = HashMap::new();
    let mut trie_rows = 0;
    for (owner, tokens) in continuations.iter().enumerate() {
        if trie_rows > 0 && trie_rows + tokens.len() > GROUP_ROWS {
            plans.push(std::mem::replace(
                &mut plan,
                Plan { first_row: context.len(), ..Plan::default() },
            ));
            children.clear();
            trie_rows = 0;
        }
        let mut parent = fork;
        for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
            let end = plan.first_row + plan.rows.len();
            let row = *children.entry((parent, *token)).or_insert(end);
            if row == end {
                plan.rows.push(Row { token: *token, parent: Some(parent) });
                trie_rows += 1;
            }
            plan.target(row, *next, owner);
            parent = row;
        }
    }
    plans.push(plan);
    plans
}

/// Plans the scoring of the last `scored` tokens of a window; its inputs are all tokens but the last.
pub(crate) fn window(tokens: &[u32], scored: usize) -> Plan {
    let inputs = tokens.len().saturating_sub(1);
    let mut plan =
        Plan { rows: linear(tokens.get(..inputs).unwrap_or_default()), ..Plan::default() };
    for (row, token) in tokens.iter().skip(1).enumerate().skip(inputs.saturating_sub(scored)) {
        plan.target(row, *token, 0);
    }
    plan
}

/// Rows of a plain sequence that starts an empty cache.
pub(crate) fn linear(tokens: &[u32]) -> Vec<Row> {
    tokens
        .iter()
        .enumerate()
        .map(|(index, token)| Row { token: *token, parent: index.checked_sub(1) })
        .collect()
}

impl Plan {
    fn target(&mut self, row: usize, token: u32, owner: usize) {
        self.targets.push(Target { row, token });
        self.owners.push(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(plans: &[Plan]) -> Vec<String> {
        plans
            .iter()
            .map(|plan| {
                let rows: Vec<String> = plan
                    .rows
                    .iter()
                    .map(|row| {
                        format!(
                            "{}<{}",
                            row.token,
                            row.parent.map_or("-".to_owned(), |p| p.to_string())
                        )
                    })
                    .collect();
                let targets: Vec<String> = plan
                    .targets
                    .iter()
                    .zip(&plan.owners)
                    .map(|(target, owner)| format!("{owner}:{}@{}", target.token, target.row))
                    .collect();
                format!("{} | {}", rows.join(" "), targets.join(" "))
            })
            .collect()
    }

    #[test]
    fn continuations_share_the_context_and_their_common_beginning() {
        let plans = continuations(&[7, 8], &[&[1, 2, 3], &[1, 2, 4, 5], &[9], &[9, 6]]);
        assert_eq!(
            describe(&plans),
            [
                "7<- 8<0 1<1 2<2 4<3 9<1 | 0:1@1 1:1@1 2:9@1 3:9@1 0:2@2 0:3@3 1:2@2 1:4@3 1:5@4 3:6@5"
            ]
        );
    }

    #[test]
    fn a_full_group_starts_another_plan_after_the_context() {
        let long: Vec<u32> = (0..1000).collect();
        let other: Vec<u32> = (2000..2100).collect();
        let plans = continuations(&[7, 8], &[&long, &other]);
        assert_eq!(plans.len(), 2);
        assert_eq!((plans[0].rows.len(), plans[0].targets.len()), (2 + 999, 1000 + 1));
        assert_eq!((plans[1].rows.len(), plans[1].first_row, plans[1].targets.len()), (99, 2, 99));
        assert_eq!(plans[1].rows[0], Row { token: 2000, parent: Some(1) });
        assert_eq!(plans[1].targets[0], Target { row: 2, token: 2001 });
    }

    #[test]
    fn a_window_scores_only_its_end() {
        assert_eq!(describe(&[window(&[1, 5, 6, 7], 2)]), ["1<- 5<0 6<1 | 0:6@1 0:7@2"]);
        assert_eq!(describe(&[window(&[1, 5], 1)]), ["1<- | 0:5@0"]);
    }
}
