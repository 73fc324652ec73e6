//! Which names are those of secrets, whatever they hold.

/// What the names of variables and keys end in that hold secrets.
const ENDS: [&str; 8] =
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS"];

/// Whether what has this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_the_end_of_its_name() {
        for (name, expected) in [
            ("ACME_API_KEY", true),
            ("hf_token", true),
            ("pass_phrase", false),
            ("PASSPHRASE", true),
            ("max_tokens", false),
            ("KEYS", false),
        ] {
            assert_eq!(is_secret_name(name), expected, "{name}");
        }
    }
}
