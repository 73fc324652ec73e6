//! Codecs that several plugins speak: pure functions from requests to bodies and from replies to answers, and
//! where a request takes several calls, the order of them.
//!
//! Not a plugin itself, and no plugin's configuration is known here. A wire format that only one plugin speaks
//! lives with that plugin.

pub mod count;
pub mod ending;
pub mod json;
pub mod object;
pub mod openai;
pub mod phrases;
pub mod stop;
pub mod text;
pub mod tgi;
