//! Sweeps: a template of a run file and a matrix of models and tasks give one run file for each pair, and each of
//! them a run of its own. What a template or a matrix means is decided before anything is started; a cell is then run
//! by a process of its own, so that nothing that happens to one reaches another.

pub mod cell;
pub mod child;
pub mod error;
pub mod event;
pub mod glob;
pub mod literal;
pub mod matrix;
pub mod prepare;
pub mod record;
pub mod run;
pub mod substitute;
pub mod template;
