//! Statistics of evaluations. Numbers in, numbers out: nothing here knows of tasks, files or requests.

pub mod bootstrap;
pub mod exact;
pub mod group;
pub mod moments;
pub mod python_random;
pub mod repeats;
