//! What a person or a program is shown of a run. Reads events and what `store` wrote, nothing else; where a run has no
//! summary yet, `run` counts what its journal holds, as it counts a run that goes on.

pub mod answer;
pub mod collected;
pub mod comparison;
pub mod csv;
pub mod error;
pub mod events_file;
pub mod file;
pub mod history;
pub mod html;
pub mod interval;
pub mod json;
pub mod junit;
pub mod leaderboard;
pub mod lines;
pub mod lm_eval;
pub mod log_histogram;
pub mod markdown;
pub mod overview;
pub mod pairing;
pub mod progress;
pub mod sweep;
pub mod table;
pub mod task_config;
pub mod timeline;
pub mod verdict;
pub mod view;
pub mod words;
