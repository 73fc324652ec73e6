//! What a person or a program is shown of a run. Reads events and what `store` wrote, nothing else.

pub mod collected;
pub mod comparison;
pub mod events_file;
pub mod leaderboard;
pub mod lines;
pub mod progress;
pub mod sweep;
pub mod table;
