//! A provider described in a run file, as a plugin.
