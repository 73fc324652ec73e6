//! Two runs on the same samples: what differs in their scores, and what else differs between them.
//!
//! Reads only what `store` wrote. [`compare::compare`] gives data; what shows it is elsewhere, but for the terminal's
//! text.

mod attempts;
pub mod compare;
pub mod counts;
pub mod difference;
pub mod flip;
pub mod pairing;
pub mod record;
pub mod row;
pub mod text;
