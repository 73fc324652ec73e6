//! A sample and its identity.
//!
//! A resumed run and a comparison pair samples by id and check that they are the same by digest, so
//! both must not depend on how the record was written: key order, spaces, file format.

use std::fmt;

use super::raw::Record;
use crate::canonical::object_digest;
use serde::{Deserialize, Serialize};

/// What identifies a sample in its task: the value of the data set's `id_field`, else the zero-based
/// index of the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SampleId(pub String);

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// BLAKE3 of a record in canonical JSON, 32 bytes; 64 hexadecimal digits when written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        let hash = blake3::Hash::from_hex(&hex).map_err(serde::de::Error::custom)?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl Digest {
    /// Its first 64 bits, as its first 16 digits are written: enough to tell whether a record is the same still.
    #[must_use]
    pub fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The digest of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self(*object_digest(record).as_bytes())
    }
}

/// Which samples belong together: the first 128 bits of the BLAKE3 of what their field says, so that a journal that
/// holds digests only tells the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey(pub u128);

impl ClusterKey {
    /// The key of what a record says.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *blake3::hash(cluster.as_bytes()).as_bytes();
        Self(u128::from_be_bytes(key))
    }

    /// The same of its BLAKE3 in hex; none if it is none.
    #[must_use]
    pub fn of_hex(digest: &str) -> Option<Self> {
        u128::from_str_radix(digest.get(..32)?, 16).ok().map(Self)
    }
}

/// A record as it was read, with its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What identifies it in its task.
    pub id: SampleId,
    /// Zero-based position of the record in its file, skipped records counted.
    pub index: u64,
    /// The record, with the label of a label file as its field `label`.
    pub record: Record,
    /// Digest of `record`.
    pub digest: Digest,
    /// Which samples it belongs together with, where the task names a field that says so.
    pub cluster: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        assert_eq!(
            Digest::of(&record(r#"{"a":1,"b":2}"#)),
            Digest::of(&record(r#"{ "b":2, "a":1 }"#))
        );
        assert_ne!(Digest::of(&record(r#"{"a":1}"#)), Digest::of(&record(r#"{"a":"1"}"#)));
    }

    #[test]
    fn a_cluster_has_one_key_however_it_is_stored() {
        let hex = blake3::hash(b"text 7").to_hex();
        assert_eq!(ClusterKey::of_hex(&hex), Some(ClusterKey::of("text 7")));
        assert_eq!(ClusterKey::of_hex("text 7"), None);
    }

    #[test]
    fn a_digest_is_read_back_as_it_was_written() {
        let digest = Digest::of(&record("{}"));
        let written = serde_json::to_string(&digest).unwrap();
        assert_eq!(written.len(), 66);
        assert_eq!(serde_json::from_str::<Digest>(&written).unwrap(), digest);
    }
}
