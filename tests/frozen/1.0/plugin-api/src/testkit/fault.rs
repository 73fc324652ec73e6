//! How a session breaks the contract.

use std::fmt;

/// What a backend did that no backend may do. `step` counts the events that it was given, `start` being 1.
///
/// [`super::Stage::play`] gives it, everything else in the kit fails with it.
///
/// ```
/// use plugin_api::testkit::Fault;
/// let fault = Fault::Stuck { step: 3 };
/// assert!(fault.to_string().starts_with("after step 3 "));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its code panicked.
    Panicked {
        /// The step.
        step: u64,
        /// The panic's message.
        message: String,
    },
    /// A destructor panicked when the session ended.
    PanickedAtEnd {
        /// The last step.
        step: u64,
        /// The panic's message.
        message: String,
    },
    /// Nothing is outstanding, and not every item is answered: whatever the future waits for will never come.
    Stuck {
        /// The step.
        step: u64,
    },
    /// Something holds the session's waker, but it never woke it.
    LostWake {
        /// The step.
        step: u64,
    },
    /// It asked for another turn again and again while nothing happened.
    BusyWake {
        /// The step.
        step: u64,
        /// Turns in a row.
        turns: u32,
    },
    /// It took more steps than the stage allows.
    Endless {
        /// The steps.
        steps: u64,
    },
    /// An item was answered twice.
    Twice {
        /// The step.
        step: u64,
        /// The item.
        item: u32,
    },
    /// A request that the server of the test does not expect.
    Unexpected {
        /// The step.
        step: u64,
        /// Method and URL.
        request: String,
        /// What would have been expected.
        expected: String,
    },
    /// An action that makes no sense where it came.
    Protocol {
        /// The step.
        step: u64,
        /// What is wrong.
        message: String,
    },
    /// A wake came after the end: something of the session outlived it.
    LateWake {
        /// The last step.
        step: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { step, message } => write!(f, "step {step} panicked: {message}"),
            Self::PanickedAtEnd { step, message } => {
                write!(f, "the end of the session, after step {step}, panicked: {message}")
            }
            Self::Stuck { step } => write!(
                f,
                "after step {step} nothing is outstanding (no call, wait, park or again), and not every item is \
                 answered: the future waits for something that will never come"
            ),
            Self::LostWake { step } => write!(
                f,
                "after step {step} the session waits for a wake from outside, and none came"
            ),
            Self::BusyWake { step, turns } => write!(
                f,
                "step {step} was the {turns}th turn in a row that it asked for while nothing happened: it wakes \
                 itself without need (a backend that computes sets Stage::turns)"
            ),
            Self::Endless { steps } => {
                write!(f, "after {steps} steps there is no end (Stage::steps sets the bound)")
            }
            Self::Twice { step, item } => write!(f, "step {step} answered item {item} once more"),
            Self::Unexpected { step, request, expected } => {
                write!(f, "step {step} sent {request}; the server expected {expected}")
            }
            Self::Protocol { step, message } => write!(f, "step {step}: {message}"),
            Self::LateWake { step } => write!(
                f,
                "the session was ended after step {step} and woken later: something of it outlived it"
            ),
        }
    }
}

impl std::error::Error for Fault {}
