//! Bodies as JSON, written many bytes at a time: a prompt is most of a request.

use plugin_api::{Error, ErrorKind, HttpRequest, Result, abi};
use serde::Serialize;

/// A value as JSON. Strings and numbers are spelt as `serde_json` spells them; of its own types, those that stand for
/// JSON which is written already (`RawValue`) have no place here.
///
/// # Errors
/// `invalid_request` if it has no JSON form.
pub fn bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    // The writer makes room for six times a text, as if all of it had to be escaped: too much for what is kept until the
    // answer comes.
    let mut written = abi::buffer();
    sonic_rs::to_writer(&mut written, value).map_err(|error| {
        let message = format!("the request has no JSON form: {error}");
        Error::new(ErrorKind::InvalidRequest, message)
    })?;
    let mut bytes = abi::buffer();
    bytes.extend_from_slice(&written);
    abi::recycle(written);
    Ok(bytes)
}

/// The request with a body of JSON, and the content type with it.
///
/// # Errors
/// As for [`bytes`].
pub fn body<'a, T: Serialize + ?Sized>(
    request: HttpRequest<'a>,
    value: &T,
) -> Result<HttpRequest<'a>> {
    Ok(request.body(bytes(value)?).header("content-type", "application/json"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_spelt_as_elsewhere() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for value in [
            json!({ "text": format!("{all}\u{2028}\u{1f600}/\\\""), "none": null, "yes": true }),
            json!([1, -1, 1.0, 0.1, 1e300, 1e-7, 123456789.125, -0.0, u64::MAX, i64::MIN, 1e16]),
            json!({}),
            json!([[], ""]),
        ] {
            assert_eq!(bytes(&value).unwrap(), serde_json::to_vec(&value).unwrap());
        }
        let long = "x".repeat(100_000);
        let written = bytes(&long).unwrap();
        assert!(written.capacity() < 2 * long.len(), "{}", written.capacity());
        assert!(bytes(&std::collections::HashMap::from([(vec![1], 1)])).is_err());
    }
}
