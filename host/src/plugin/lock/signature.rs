//! Minisign signatures: a file is signed by a key if `FILE.minisig` beside it says so. The key is trusted because the
//! lock file names it; nothing is fetched.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use minisign_verify::{PublicKey, Signature};
use thiserror::Error;

/// A text that is no public key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is no minisign public key; write the second line of its file, which begins with `RW`"
)]
pub struct KeyError(String);

/// Why a file does not count as signed.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// There is no signature that could be read.
    #[error("it must be signed by {key}, and {} cannot be read: {source}", path.display())]
    Read {
        /// The key.
        key: String,
        /// The signature's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The signature is none, of another key, or of other bytes.
    #[error("it must be signed by {key}, and {} does not show that: {reason}", path.display())]
    Wrong {
        /// The key.
        key: String,
        /// The signature's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A public key in base64, out of that or of the text of its file.
///
/// # Errors
/// It is none.
pub fn key(text: &str) -> Result<String, KeyError> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    match PublicKey::from_base64(line) {
        Ok(_) => Ok(line.to_owned()),
        Err(_) => Err(KeyError(text.trim().chars().take(80).collect())),
    }
}

/// Where the signature of a file lies.
pub fn place(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".minisig");
    name.into()
}

/// Whether `key` has signed these bytes, which were read from `file`.
///
/// # Errors
/// It has not, as far as the signature beside the file tells.
pub fn verify(file: &Path, bytes: &[u8], key: &str) -> Result<(), SignatureError> {
    let path = place(file);
    let public = PublicKey::from_base64(key).map_err(|_| KeyError(key.to_owned()))?;
    let text = std::fs::read_to_string(&path).map_err(|source| SignatureError::Read {
        key: key.to_owned(),
        path: path.clone(),
        source,
    })?;
    // Signatures of the first kind, over the whole file and not its digest, no tool makes any more.
    let verified =
        Signature::decode(&text).and_then(|signature| public.verify(bytes, &signature, false));
    verified.map_err(|error| SignatureError::Wrong {
        key: key.to_owned(),
        path,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the signature of `test` that the verifier's own documentation publishes.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.so");
        let other = "RWTaUkeaBMuTwKJHmgkwSVDwGC7FbJ6Zo/pfDNfdN0GYlEtEC7BOTK1m";
        let error = verify(&file, b"test", KEY).unwrap_err().to_string();
        assert!(error.contains("lib.so.minisig cannot be read: No such file"), "{error}");
        std::fs::write(place(&file), SIGNATURE).unwrap();
        verify(&file, b"test", KEY).unwrap();
        let tampered = SIGNATURE.replace("file:test", "file:tess");
        for (signature, bytes, key) in [
            (SIGNATURE, &b"tess"[..], KEY),
            (SIGNATURE, b"test", other),
            (&tampered, b"test", KEY),
            ("none", b"test", KEY),
        ] {
            std::fs::write(place(&file), signature).unwrap();
            let error = verify(&file, bytes, key).unwrap_err().to_string();
            let expected = if key == KEY { KEY } else { other };
            assert!(error.starts_with(&format!("it must be signed by {expected}")), "{error}");
        }
    }

    #[test]
    fn a_key_is_taken_as_a_line_or_as_its_file() {
        assert_eq!(key(KEY).unwrap(), KEY);
        assert_eq!(key(&format!("untrusted comment: minisign public key\n{KEY}\n")).unwrap(), KEY);
        let error = key("RWQ nonsense").unwrap_err().to_string();
        assert!(error.starts_with("`RWQ nonsense` is no minisign public key"), "{error}");
    }
}
