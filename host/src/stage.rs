//! The stages that a sample goes through, which samples go through side by side.

/// Begins another stage: what samples of this thread can run, some dozens at most, come to this point first.
///
/// From a reply to the next request a sample runs through more code than a core's instruction cache holds. Of samples
/// that each go all the way at once, every one finds nothing of it there; of those that come stage by stage, only the
/// first. Costs a look at the sockets where no other sample can run.
pub async fn begin() {
    tokio::task::yield_now().await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn samples_that_can_run_go_through_a_stage_one_after_the_other() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let samples: Vec<_> = (0..3)
            .map(|sample| {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    for stage in ["read", "decoded", "graded"] {
                        seen.lock().unwrap().push((sample, stage));
                        super::begin().await;
                    }
                })
            })
            .collect();
        for sample in samples {
            sample.await.unwrap();
        }
        let mut seen = seen.lock().unwrap();
        // In whatever order within a stage.
        seen.chunks_mut(3).for_each(<[_]>::sort_unstable);
        let all = |stage| [(0, stage), (1, stage), (2, stage)];
        assert_eq!(*seen, ["read", "decoded", "graded"].map(all).concat());
    }
}
