//! Which replica of a backend is asked, and when: limits, rates, health and routing policies behind one door.

pub mod change;
mod core;
pub mod health;
pub mod limiter;
mod line;
pub mod policy;
pub mod queueing;
pub mod rate;
pub mod router;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod limiter_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod rate_tests;
#[cfg(test)]
mod router_tests;
