//! The files that become the manifest are those of the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use huggingface::{HuggingFace, address, call};
use plugin_api::{capability::Capability, manifest::Declared, testkit};

fn declared() -> Declared {
    serde_json::from_str(include_str!("../plugin.json")).unwrap()
}

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<HuggingFace>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn every_declared_capability_is_one_that_the_host_knows() {
    let declared = declared();
    assert_eq!(declared.id, "huggingface");
    let known = |capability: &Capability| !matches!(capability, Capability::Other(_));
    assert!(declared.capabilities.iter().all(known), "{:?}", declared.capabilities);
}

/// wire.md 5.1: the suggested order, and the places that huggingface_hub reads.
#[test]
fn the_token_is_looked_up_where_the_hubs_own_client_does_and_goes_to_its_hosts_only() {
    let declared = declared();
    let [slot] = &declared.secrets[..] else { unreachable!("one slot") };
    assert_eq!(slot.slot, call::TOKEN);
    assert_eq!(
        slot.env,
        [
            "HF_TOKEN",
            "HF_API_TOKEN",
            "HUGGINGFACEHUB_API_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HUGGINGFACE_API_KEY"
        ]
    );
    assert_eq!(slot.files, ["$HF_TOKEN_PATH", "$HF_HOME/token", "~/.cache/huggingface/token"]);
    assert!(slot.optional);
    assert_eq!(slot.origins, declared.origins);
    let its_own = |origin: &String| {
        origin.ends_with(".huggingface.co")
            || origin.ends_with("//huggingface.co")
            || origin.ends_with(".huggingface.cloud")
    };
    assert!(slot.origins.iter().all(its_own), "{:?}", slot.origins);
}

#[test]
fn the_services_own_addresses_are_declared_origins() {
    let declared = declared();
    let management = address::management(None).unwrap();
    for url in [
        address::router(None).unwrap(),
        address::serverless(None).unwrap(),
        management.api,
        management.whoami,
    ] {
        let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        assert!(declared.origins.contains(&origin), "{url}");
    }
}

#[test]
fn every_header_that_is_read_is_asked_for() {
    let declared = declared();
    for header in wire::openai::limits::HEADERS.iter().chain(&["x-prompt-tokens"]) {
        assert!(declared.reply_headers.iter().any(|known| known == header), "{header}");
    }
}
