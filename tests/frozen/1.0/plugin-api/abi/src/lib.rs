//! The binary contract between host and plugins: leaf types, tables and version numbers.
//!
//! `extern "C"`, natural alignment, native endianness; no Rust enum, bool, `String`, future or trait
//! object. The messages that these tables carry are the business of `plugin-api`; this crate knows
//! none of them, so that its version can follow the ABI alone.

mod leaf;
mod pool;
mod tables;

#[cfg(feature = "layout-check")]
pub mod layout;

pub use leaf::{Buf, Bytes, Free, MessageRef};
pub use pool::{buffer, recycle};
pub use tables::{Backend, Entry, Host, HostRef, Plugin, Session, Sink};

/// First field of every [`Entry`]: `HOSTPLUG` read as a big-endian number.
pub const MAGIC: u64 = u64::from_be_bytes(*b"HOSTPLUG");

/// Must be the same for host and plugin.
pub const ABI_MAJOR: u32 = 1;

/// The newest minor that this crate describes. A plugin states the lowest that it needs.
pub const ABI_MINOR: u32 = 0;

/// Name of the exported static of type [`Entry`].
pub const ENTRY_SYMBOL: &str = "host_plugin_entry";

/// Name of the exported static that carries the layout of the leaf types, where a library has one.
pub const LAYOUT_SYMBOL: &str = "host_plugin_layout";

/// Name of the link section that holds the manifest in an ELF file.
pub const MANIFEST_SECTION: &str = ".hostplugin";

/// First eight bytes of the manifest section.
pub const MANIFEST_MAGIC: [u8; 8] = *b"HOSTPLUG";

/// Version of the framing of the manifest section: magic, `u32 LE` version, `u32 LE` length, JSON.
pub const MANIFEST_VERSION: u32 = 1;

/// The call did what it was asked to do.
pub const STATUS_OK: i32 = 0;
/// The call failed; the text is in `err`, or a `fail` action was pushed. Any unknown status reads as this.
pub const STATUS_FAILED: i32 = 1;
/// The plugin panicked and caught it; only `end` may follow for that session.
pub const STATUS_PANICKED: i32 = 2;
