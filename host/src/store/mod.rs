//! What is kept on disk: the run directory, the only thing that a run leaves behind and all that reports read, and
//! the response cache, which runs share.

pub mod bits;
pub mod cache;
pub mod index;
pub mod journal;
pub mod journal_reader;
pub mod journal_tail;
pub mod ledger;
pub mod line;
pub mod manifest;
pub mod outcome;
pub mod record;
pub mod run_dir;
pub mod storage;
pub mod stored_run;
pub mod summary;
pub mod whole_file;

pub use record::SampleRecord;
pub use run_dir::{RunDir, StoreError};
