//! Threads for plugins that compute: their steps would hold up the engine's own.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that run jobs in the order they come.
#[derive(Debug)]
pub struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(name: &str, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("plugin-{name}")).spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    // The pool is gone once nobody can send any more.
                    let Ok(job) = job else { return };
                    job();
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs a job that nobody waits for.
    pub fn start(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as this.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Runs a job and gives what it returns; none if the threads are gone.
    ///
    /// If the returned future is dropped, a job that has begun runs to its end and its result is dropped on
    /// the pool's thread; one that has not is dropped there.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.jobs
            .send(Box::new(move || {
                // Nobody waits any more: the work would only hold up what others wait for.
                if !done.is_closed() {
                    let _ = done.send(job());
                }
            }))
            .ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_elsewhere_and_as_many_at_once_as_there_are_threads() {
        let pool = Pool::new("test", 2).unwrap();
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let jobs = [0, 1].map(|n| {
            let barrier = Arc::clone(&barrier);
            pool.run(move || {
                barrier.wait();
                (n, thread::current().id())
            })
        });
        let results = futures_util::future::join_all(jobs).await;
        assert!(results.iter().flatten().all(|(_, thread)| *thread != thread::current().id()));
        assert_eq!(results.into_iter().flatten().map(|(n, _)| n).collect::<Vec<_>>(), [0, 1]);
    }
}
