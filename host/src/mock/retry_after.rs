//! How a refusal asks to wait: `retry-after` as seconds or as a date (RFC 9110, 10.2.3), `retry-after-ms` as OpenAI has
//! it.
//!
//! Pure: the time of day is an argument.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, RETRY_AFTER},
};

/// In which form a wait is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryAfterForm {
    /// `retry-after`, in whole seconds.
    #[default]
    Seconds,
    /// `retry-after`, as a date.
    Date,
    /// `retry-after-ms`, in milliseconds.
    Milliseconds,
}

/// A name that no form has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no form of retry-after; expected one of seconds, date, ms")]
pub struct UnknownForm(String);

impl RetryAfterForm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Date, Self::Milliseconds];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Date => "date",
            Self::Milliseconds => "ms",
        }
    }
}

impl fmt::Display for RetryAfterForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RetryAfterForm {
    type Err = UnknownForm;

    fn from_str(name: &str) -> Result<Self, UnknownForm> {
        let known = Self::ALL.into_iter().find(|form| form.name() == name);
        known.ok_or_else(|| UnknownForm(name.to_owned()))
    }
}

/// A wait that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter {
    /// How long; never said shorter than it is, so it is rounded up to what the form can say.
    pub(crate) wait: Duration,
    /// In which form.
    pub(crate) form: RetryAfterForm,
}

impl RetryAfter {
    /// Adds the header that says it at this time of day.
    pub(crate) fn put(self, headers: &mut HeaderMap, now: SystemTime) {
        let (name, text) = self.header(now);
        // Digits and dates are header values.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }

    fn header(self, now: SystemTime) -> (HeaderName, String) {
        match self.form {
            RetryAfterForm::Seconds => (RETRY_AFTER, seconds_up(self.wait).to_string()),
            RetryAfterForm::Date => {
                let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                let at = seconds_up(since_epoch.saturating_add(self.wait));
                // A date that no calendar has is not asked for: the latest that HTTP can write stands for it.
                let at = UNIX_EPOCH + Duration::from_secs(at.min(LATEST));
                (RETRY_AFTER, httpdate::fmt_http_date(at))
            }
            RetryAfterForm::Milliseconds => {
                let ms = self.wait.as_nanos().div_ceil(1_000_000);
                (HeaderName::from_static("retry-after-ms"), ms.to_string())
            }
        }
    }
}

/// The end of the year 9999, in seconds.
const LATEST: u64 = 253_402_300_799;

fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_said_in_three_forms_and_never_shortened() {
        use RetryAfterForm::{Date, Milliseconds, Seconds};
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let late = now + Duration::from_millis(900);
        for (ms, form, at, name, text) in [
            (2000, Seconds, now, "retry-after", "2"),
            (250, Seconds, now, "retry-after", "1"),
            (0, Seconds, now, "retry-after", "0"),
            (250, Milliseconds, now, "retry-after-ms", "250"),
            (10_000, Date, now, "retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
            (250, Date, now, "retry-after", "Sun, 06 Nov 1994 08:49:38 GMT"),
            (250, Date, late, "retry-after", "Sun, 06 Nov 1994 08:49:39 GMT"),
        ] {
            let asked = RetryAfter { wait: Duration::from_millis(ms), form };
            let mut headers = HeaderMap::new();
            asked.put(&mut headers, at);
            assert_eq!(headers.len(), 1);
            assert_eq!(headers.get(name).unwrap(), text, "{asked:?}");
        }
        let ever = RetryAfter { wait: Duration::MAX, form: Date };
        assert_eq!(ever.header(now).1, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for form in RetryAfterForm::ALL {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        let error = "soon".parse::<RetryAfterForm>().unwrap_err().to_string();
        assert!(error.contains("`soon`") && error.contains("seconds, date, ms"), "{error}");
    }
}
