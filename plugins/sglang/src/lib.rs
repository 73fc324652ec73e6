//! SGLang as a plugin.
