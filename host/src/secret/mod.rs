//! Secrets and the origins that they may be sent to. Nothing here opens a socket or writes a log:
//! it decides and hides, others ask before they send or print.

mod grants;
mod name;
mod origin;
mod redact;
mod slot;
mod value;
mod word;

pub use grants::{Grants, GrantsError, Limits, Refusal};
pub use name::is_secret_name;
pub use origin::{Origin, OriginError, OriginPattern};
pub use redact::Redactor;
pub use slot::{Lookup, SecretError, Secrets, place_of};
pub use value::Secret;
pub use word::is_own_word;
