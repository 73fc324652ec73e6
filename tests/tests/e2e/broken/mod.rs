//! Broken plugins: every way in which a plugin, or a file that is none, was seen to take a host down or to confuse it.
//! Each fault is a real file that is loaded by the real host; what is said of it is asserted word for word, and in the
//! same run another backend is asked and answers right. Faults of a running plugin's messages are in `misbehaving`,
//! those of its process in `workers`, those of scripts in `scripts`, and those of trust in `trusting`.

mod built_wrong;
mod faulty;
mod files;
mod libraries;
mod panics;
mod running;
