//! Azure's addresses for OpenAI's wire: one of a deployment with an `api-version`, or the v1 form, in which the deployment
//! is the body's `model` (wire.md 4.2).
//!
//! Pure.

/// `api-version` where nobody says one: LiteLLM's.
pub const DEFAULT_VERSION: &str = "2025-02-01-preview";

/// How routes become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    base: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// `{base}/openai/deployments/{deployment}{route}?api-version=…`
    Deployments(String),
    /// The same where the base names the deployment already.
    Deployed(String),
    /// `{base}/openai/v1{route}`, with `api-version=preview` if that was asked for.
    V1 { preview: bool },
}

impl Azure {
    /// The form that base URL and version choose.
    pub fn new(base: &str, version: Option<&str>) -> Self {
        let base = base.trim_end_matches('/');
        let chosen = version.unwrap_or(DEFAULT_VERSION);
        let preview = version == Some("preview");
        if let Some(root) = base.strip_suffix("/openai/v1") {
            return Self { base: root.to_owned(), form: Form::V1 { preview } };
        }
        if base.contains("/deployments/") {
            return Self { base: base.to_owned(), form: Form::Deployed(chosen.to_owned()) };
        }
        let root = base.strip_suffix("/openai").unwrap_or(base).to_owned();
        let form = match chosen {
            "v1" | "latest" | "preview" => Form::V1 { preview },
            version => Form::Deployments(version.to_owned()),
        };
        Self { base: root, form }
    }

    /// Whether the key goes as `authorization: Bearer`, as to OpenAI itself.
    pub fn takes_bearer(&self) -> bool {
        matches!(self.form, Form::V1 { .. })
    }

    /// The address of a route of a deployment.
    pub fn url(&self, deployment: &str, route: &str) -> String {
        let Self { base, form } = self;
        match form {
            Form::Deployments(version) => format!(
                "{base}/openai/deployments/{}{route}?api-version={}",
                escaped(deployment),
                escaped(version)
            ),
            Form::Deployed(version) => format!("{base}{route}?api-version={}", escaped(version)),
            Form::V1 { preview: true } => format!("{base}/openai/v1{route}?api-version=preview"),
            Form::V1 { preview: false } => format!("{base}/openai/v1{route}"),
        }
    }

    /// The address of the list of models.
    pub fn models(&self) -> String {
        let Self { base, form } = self;
        let root = base.split("/openai/deployments/").next().unwrap_or(base);
        match form {
            Form::Deployments(version) | Form::Deployed(version) => {
                format!("{root}/openai/models?api-version={}", escaped(version))
            }
            Form::V1 { .. } => self.url("", "/models"),
        }
    }
}

/// A name as one segment of a path, or a value of a query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_and_version_choose_the_form_of_the_address() {
        let r = "https://r.openai.azure.com";
        for (base, version, url, bearer) in [
            (r.to_owned(), None, format!("{r}/openai/deployments/my%20dep/chat/completions?api-version=2025-02-01-preview"), false),
            (format!("{r}/openai"), Some("2024-10-21"), format!("{r}/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21"), false),
            (r.to_owned(), Some("v1"), format!("{r}/openai/v1/chat/completions"), true),
            (r.to_owned(), Some("latest"), format!("{r}/openai/v1/chat/completions"), true),
            (r.to_owned(), Some("preview"), format!("{r}/openai/v1/chat/completions?api-version=preview"), true),
            (format!("{r}/openai/v1"), None, format!("{r}/openai/v1/chat/completions"), true),
            (format!("{r}/openai/deployments/d"), Some("2024-10-21"), format!("{r}/openai/deployments/d/chat/completions?api-version=2024-10-21"), false),
            ("http://127.0.0.1:1/azure".to_owned(), None, "http://127.0.0.1:1/azure/openai/deployments/my%20dep/chat/completions?api-version=2025-02-01-preview".to_owned(), false),
        ] {
            let azure = Azure::new(&base, version);
            assert_eq!(azure.url("my dep", "/chat/completions"), url);
            assert_eq!(azure.takes_bearer(), bearer, "{base} {version:?}");
        }
    }

    #[test]
    fn the_list_of_models_is_the_resources() {
        let r = "https://r.openai.azure.com";
        assert_eq!(
            Azure::new(r, Some("2024-10-21")).models(),
            format!("{r}/openai/models?api-version=2024-10-21")
        );
        assert_eq!(
            Azure::new(&format!("{r}/openai/deployments/d"), Some("2024-10-21")).models(),
            format!("{r}/openai/models?api-version=2024-10-21")
        );
        assert_eq!(Azure::new(r, Some("v1")).models(), format!("{r}/openai/v1/models"));
    }
}
