//! What a backend can do, as its manifest declares it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One ability. A name that this version does not know reads as [`Capability::Other`].
///
/// ```
/// use plugin_api::capability::Capability;
///
/// let read: Vec<Capability> = plugin_api::serde_json::from_str(r#"["generate", "tokenize/1"]"#)?;
/// assert_eq!(read, [Capability::Generate, Capability::Tokenize]);
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Free generation from text.
    Generate,
    /// Generation from chat messages.
    Chat,
    /// Sends `delta`s while it generates.
    Stream,
    /// Log-likelihood of continuations.
    Loglikelihood,
    /// Log-likelihood of a whole text.
    LoglikelihoodRolling,
    /// Knows whether its server is ready.
    Health,
    /// Turns text into token ids.
    Tokenize,
    /// Turns chat messages into text; with it, log-likelihood takes messages too.
    Render,
    /// Turns text into vectors.
    Embed,
    /// A name of a later version, or of a third party.
    Other(String),
}

impl Capability {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Generate => "generate",
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Loglikelihood => "loglikelihood",
            Self::LoglikelihoodRolling => "loglikelihood_rolling",
            Self::Health => "health",
            Self::Tokenize => "tokenize/1",
            Self::Render => "render/1",
            Self::Embed => "embed/1",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: &str) -> Self {
        const KNOWN: [Capability; 9] = [
            Capability::Generate,
            Capability::Chat,
            Capability::Stream,
            Capability::Loglikelihood,
            Capability::LoglikelihoodRolling,
            Capability::Health,
            Capability::Tokenize,
            Capability::Render,
            Capability::Embed,
        ];
        KNOWN
            .into_iter()
            .find(|known| known.as_str() == name)
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::from_name(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip_and_unknown_ones_are_kept() {
        for name in ["generate", "chat", "tokenize/1", "vendor.acme/3"] {
            assert_eq!(Capability::from_name(name).as_str(), name);
        }
        assert_eq!(Capability::from_name("dance"), Capability::Other("dance".into()));
    }
}
