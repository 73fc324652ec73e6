//! The cache's thread: looks entries up, writes new ones in batches, and holds everything that can fail.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

use super::{
    Gauge, Key, Message, Put,
    table::{Table, Unwritten},
};

/// Most messages that are taken at once.
const BATCH: usize = 512;
/// Longest time that an entry waits to be written.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Bytes that are written without waiting for more.
const FLUSH_BYTES: usize = 4 * 1024 * 1024;
/// Between two tries while another process writes.
const BUSY: Duration = Duration::from_millis(20);
/// How long another process may have the file to itself before this one goes without.
const OPENING: Duration = Duration::from_secs(3);
/// How long it is tried to write what is left at the end.
const CLOSING: Duration = Duration::from_secs(8);

/// Serves until nobody can ask any more. Once the file has failed nothing is looked up or kept: who asks finds
/// nothing, at once.
pub(super) fn serve(
    path: &Path,
    inbox: &Receiver<Message>,
    gauge: &Gauge,
    warn: &(dyn Fn(&str) + Send),
) {
    // A damaged file can make the database panic, and a panic here must cost nothing but the cache.
    let served = catch_unwind(AssertUnwindSafe(|| match open(path) {
        Ok(table) => Keeper::new(table, gauge).serve(inbox),
        Err(error) => Err(error),
    }));
    let reason = match served {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it is damaged".to_owned(),
    };
    warn(&format!(
        "the response cache ({}) is not used: {reason}; `host cache prune --all` begins a new one",
        path.display()
    ));
    // The senders of what is asked are dropped, which is the answer.
    for message in inbox {
        if let Message::Put(put) = &message {
            gauge.waiting.fetch_sub(put.value.len(), Ordering::Relaxed);
        }
    }
}

fn open(path: &Path) -> Result<Table, redb::Error> {
    let until = Instant::now() + OPENING;
    loop {
        match Table::create(path) {
            Err(redb::Error::DatabaseAlreadyOpen) if Instant::now() < until => thread::sleep(BUSY),
            opened => return opened,
        }
    }
}

struct Keeper<'a> {
    table: Table,
    gauge: &'a Gauge,
    /// To be written.
    puts: HashMap<Key, Put>,
    bytes: usize,
    /// Found, by label, and not written down yet.
    hits: HashMap<u64, u64>,
    /// When to write.
    due: Option<Instant>,
}

impl<'a> Keeper<'a> {
    fn new(table: Table, gauge: &'a Gauge) -> Self {
        Self { table, gauge, puts: HashMap::new(), bytes: 0, hits: HashMap::new(), due: None }
    }

    fn serve(&mut self, inbox: &Receiver<Message>) -> Result<(), redb::Error> {
        loop {
            let first = match self.due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            let mut gets = Vec::new();
            let mut closed = None;
            match first {
                Ok(first) => {
                    let more = std::iter::from_fn(|| inbox.try_recv().ok());
                    for message in std::iter::once(first).chain(more).take(BATCH) {
                        match message {
                            Message::Get(key, label, answer) => gets.push((key, label, answer)),
                            Message::Put(put) => self.take(put),
                            Message::Close(done) => closed = Some(done),
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            self.answer(gets)?;
            self.gauge.stalled.store(false, Ordering::Relaxed);
            match closed {
                Some(done) => {
                    self.close()?;
                    let _ = done.send(());
                }
                None if self.is_due() => self.flush()?,
                None => {}
            }
        }
    }

    fn take(&mut self, put: Put) {
        self.due.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        self.bytes += put.value.len();
        if let Some(old) = self.puts.insert(put.key, put) {
            self.written(old.value.len());
        }
    }

    /// So many bytes wait no more.
    fn written(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.gauge.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn answer(
        &mut self,
        gets: Vec<(Key, u64, oneshot::Sender<Vec<u8>>)>,
    ) -> Result<(), redb::Error> {
        if gets.is_empty() {
            return Ok(());
        }
        let found = self.table.get(gets.iter().map(|(key, ..)| key.0))?;
        for ((key, label, answer), found) in gets.into_iter().zip(found) {
            let found = found.or_else(|| self.puts.get(&key).map(|put| put.value.clone()));
            // Who has waited too long has been asking the server since, so that is no hit.
            if let Some(value) = found
                && answer.send(value).is_ok()
            {
                *self.hits.entry(label).or_default() += 1;
                self.due.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
            }
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.bytes >= FLUSH_BYTES || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Writes what waits, or tries again soon.
    fn flush(&mut self) -> Result<(), redb::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self.table.write(self.puts.values(), &self.hits, now) {
            Ok(()) => {
                self.puts.clear();
                self.hits.clear();
                self.written(self.bytes);
                self.due = None;
                Ok(())
            }
            Err(Unwritten::Busy) => {
                self.due = Some(Instant::now() + BUSY);
                Ok(())
            }
            Err(Unwritten::Broken(error)) => Err(error),
        }
    }

    /// Writes what waits, however often it takes, within reason.
    fn close(&mut self) -> Result<(), redb::Error> {
        let until = Instant::now() + CLOSING;
        while !(self.puts.is_empty() && self.hits.is_empty()) && Instant::now() < until {
            self.flush()?;
            if self.due.is_some() {
                thread::sleep(BUSY);
            }
        }
        Ok(())
    }
}
