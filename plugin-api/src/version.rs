//! The three numbers of `CONTRACT.md`: ABI, SDK and the compiler that built the SDK. Only the ABI gates loading.

/// Version of this SDK.
pub const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The compiler that built this SDK, as `rustc --version` prints it.
pub const RUSTC_VERSION: &str = env!("PLUGIN_API_RUSTC");

/// The lowest ABI minor that a plugin built with this SDK needs.
pub const ABI_MINOR_NEEDED: u32 = 1;
