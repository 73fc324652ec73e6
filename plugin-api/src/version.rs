//! The three numbers of `CONTRACT.md`: ABI, SDK and the compiler that built the SDK. Only the ABI gates loading.
//!
//! ```
//! use plugin_api::version::{ABI_FLOOR_JSON, ABI_MINOR_NEEDED, RUSTC_VERSION, SDK_VERSION};
//!
//! println!("plugin-api {SDK_VERSION}, built by {RUSTC_VERSION}, needs the ABI {ABI_FLOOR_JSON} or a later one");
//! assert!(ABI_MINOR_NEEDED <= plugin_api::abi::ABI_MINOR);
//! ```

/// Version of this SDK.
pub const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The compiler that built this SDK, as `rustc --version` prints it.
pub const RUSTC_VERSION: &str = env!("PLUGIN_API_RUSTC");

/// The lowest ABI minor that a plugin built with this SDK needs.
pub const ABI_MINOR_NEEDED: u32 = 0;

/// The ABI that a plugin built with this SDK needs, as its manifest says it.
pub const ABI_FLOOR_JSON: &str = "{\"major\":1,\"minor\":0}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi, manifest::AbiFloor};

    #[test]
    fn the_manifest_states_the_floor_that_the_entry_states() {
        let floor: AbiFloor = serde_json::from_str(ABI_FLOOR_JSON).unwrap();
        assert_eq!(floor, AbiFloor { major: abi::ABI_MAJOR, minor: ABI_MINOR_NEEDED });
        #[allow(clippy::absurd_extreme_comparisons, reason = "the minor will grow")]
        const {
            assert!(ABI_MINOR_NEEDED <= abi::ABI_MINOR);
        }
    }
}
