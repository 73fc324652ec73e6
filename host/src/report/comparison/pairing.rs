//! Which task at which backend is compared with which. Pure.

/// A task's backends in one run, in the run's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskBackends {
    /// Id of the task.
    pub(super) task: String,
    /// Ids of the backends.
    pub(super) backends: Vec<String>,
}

/// What is compared of one task: a backend of the baseline with one of the candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Id of the task.
    pub task: String,
    /// The backend in the baseline.
    pub baseline: String,
    /// The backend in the candidate.
    pub candidate: String,
}

/// What is compared between two runs, and what of them is not, in words. Backends of one id belong together; where
/// there are none of one id, and one side has a single backend, that one is compared with each of the other side.
pub(super) fn between(
    baseline: &[TaskBackends],
    candidate: &[TaskBackends],
    names: [&str; 2],
) -> (Vec<Pair>, Vec<String>) {
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    let only =
        |what: String, name: &str| format!("{what} is only in {name}, so it is not compared");
    for own in baseline {
        let Some(other) = candidate.iter().find(|other| other.task == own.task) else {
            left_out.push(only(format!("task `{}`", own.task), names[0]));
            continue;
        };
        let pair = |baseline: &String, candidate: &String| Pair {
            task: own.task.clone(),
            baseline: baseline.clone(),
            candidate: candidate.clone(),
        };
        let same = |id: &&String| other.backends.contains(id);
        if own.backends.iter().any(|id| same(&id)) {
            pairs.extend(own.backends.iter().filter(same).map(|id| pair(id, id)));
            for (from, by, name) in [(own, other, names[0]), (other, own, names[1])] {
                for id in from.backends.iter().filter(|id| !by.backends.contains(id)) {
                    left_out.push(only(format!("task `{}` at backend `{id}`", own.task), name));
                }
            }
        } else if own.backends.len() == 1 || other.backends.len() == 1 {
            let each = own.backends.iter();
            pairs.extend(each.flat_map(|a| other.backends.iter().map(move |b| pair(a, b))));
        } else {
            left_out.push(format!(
                "task `{}` has several backends in both runs and none of one name; say by --backend which are meant",
                own.task
            ));
        }
    }
    for other in candidate {
        if !baseline.iter().any(|own| own.task == other.task) {
            left_out.push(only(format!("task `{}`", other.task), names[1]));
        }
    }
    (pairs, left_out)
}

/// What is compared within one run: each backend of a task with its first.
pub(super) fn within(run: &[TaskBackends]) -> Vec<Pair> {
    let pairs = run.iter().flat_map(|own| {
        own.backends.split_first().into_iter().flat_map(|(first, others)| {
            others.iter().map(|other| Pair {
                task: own.task.clone(),
                baseline: first.clone(),
                candidate: other.clone(),
            })
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `t: a b, u: a` as tasks.
    fn tasks(text: &str) -> Vec<TaskBackends> {
        let one = |text: &str| {
            let (task, backends) = text.split_once(':').unwrap();
            let backends = backends.split_whitespace().map(str::to_owned).collect();
            TaskBackends { task: task.trim().to_owned(), backends }
        };
        text.split(',').map(one).collect()
    }

    fn in_words(pairs: &[Pair]) -> String {
        let one = |pair: &Pair| format!("{} {}-{}", pair.task, pair.baseline, pair.candidate);
        pairs.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn backends_of_one_name_belong_together_and_a_single_one_with_each() {
        let table = [
            ("t: a, u: a", "t: a, u: a", "t a-a, u a-a", 0),
            ("t: a b", "t: b a", "t a-a, t b-b", 0),
            ("t: a b", "t: b c", "t b-b", 2),
            ("t: a", "t: b c", "t a-b, t a-c", 0),
            ("t: a b", "t: c", "t a-c, t b-c", 0),
            ("t: a b", "t: c d", "", 1),
            ("t: a, u: a", "v: a, u: b", "u a-b", 2),
        ];
        for (baseline, candidate, expected, left_out) in table {
            let (pairs, words) = between(&tasks(baseline), &tasks(candidate), ["A", "B"]);
            assert_eq!(in_words(&pairs), expected, "{baseline} / {candidate}");
            assert_eq!(words.len(), left_out, "{words:?}");
        }
    }

    #[test]
    fn within_a_run_the_first_backend_is_the_baseline() {
        assert_eq!(in_words(&within(&tasks("t: a b c, u: a, v: c a"))), "t a-b, t a-c, v c-a");
    }
}
