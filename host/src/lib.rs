//! Library of the `host` binary.
