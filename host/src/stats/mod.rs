//! Statistics of evaluations. Numbers in, numbers out: nothing here knows of tasks, files or requests.

mod binomial;
pub mod clustered;
pub mod exact;
pub mod group;
pub mod holm;
pub mod interval;
pub mod mcnemar;
pub mod moments;
pub mod normal;
pub mod paired;
pub mod power;
pub mod python_random;
pub mod repeats;
pub mod wilson;
