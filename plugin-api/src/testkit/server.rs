//! Who answers the requests of a backend under test.

use std::collections::VecDeque;

use super::{Scripted, Sent};

/// Answers requests: a closure, a [`Script`], a [`super::Recorded`], or one [`Scripted`] reply for all of them.
///
/// ```
/// use plugin_api::{json, testkit::{Scripted, Sent, Server}};
///
/// fn answers(server: impl Server) {}
///
/// answers(Scripted::json(&json!({ "text": "Hi" })));
/// answers(|sent: &Sent| match sent.path() {
///     "/health" => Scripted::new(200, ""),
///     _ => Scripted::new(404, ""),
/// });
///
/// /// One that is asked a number of times, and says so if it is asked once more.
/// struct Patient(u32);
///
/// impl Server for Patient {
///     fn answer(&mut self, _: &Sent) -> Option<Scripted> {
///         self.0 = self.0.checked_sub(1)?;
///         Some(Scripted::new(200, "yes"))
///     }
///
///     fn expected(&self) -> String {
///         "no further request".to_owned()
///     }
/// }
///
/// assert_eq!(Patient(3).expected(), "no further request");
/// ```
pub trait Server {
    /// The answer to this request; none if the server does not expect it.
    fn answer(&mut self, sent: &Sent) -> Option<Scripted>;

    /// What it would have expected, for a person.
    fn expected(&self) -> String {
        "nothing like it".to_owned()
    }
}

impl<F, R> Server for F
where
    F: FnMut(&Sent) -> R,
    R: Into<Option<Scripted>>,
{
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        self(sent).into()
    }
}

impl Server for Scripted {
    fn answer(&mut self, _: &Sent) -> Option<Scripted> {
        Some(self.clone())
    }
}

/// Replies in the order of the requests. One that comes after the last is not expected.
///
/// ```
/// use plugin_api::{json, testkit::{Script, Scripted}};
///
/// let script = Script::new([
///     ("/tokenize", Scripted::json(&json!([1, 2]))),
///     ("/generate", Scripted::json(&json!({ "text": "Hi" }))),
/// ]);
/// assert_eq!(script.left(), 2); // nobody has asked yet
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script(VecDeque<(String, Scripted)>);

impl Script {
    /// Each request's path, as [`Sent::path`] gives it, and the reply to it.
    pub fn new<P: Into<String>>(replies: impl IntoIterator<Item = (P, Scripted)>) -> Self {
        Self(replies.into_iter().map(|(path, reply)| (path.into(), reply)).collect())
    }

    /// How many replies were not asked for yet.
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

impl Server for Script {
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        if self.0.front()?.0 != sent.path() {
            return None;
        }
        self.0.pop_front().map(|(_, reply)| reply)
    }

    fn expected(&self) -> String {
        match self.0.front() {
            Some((path, _)) => format!("a request of {path}"),
            None => "no further request".to_owned(),
        }
    }
}
