//! A whole line of the journal as one of the types that read it, each of which takes what it needs.

use serde::Deserialize;

use super::{
    outcome::SampleOutcome,
    record::{FORMAT, SampleRecord},
};

/// What a line may be read as.
pub trait Line<'a>: Deserialize<'a> {
    /// The format that the line says it is of.
    fn format(&self) -> u32;
}

impl Line<'_> for SampleRecord {
    fn format(&self) -> u32 {
        self.format
    }
}

impl<'a> Line<'a> for SampleOutcome<'a> {
    fn format(&self) -> u32 {
        self.format
    }
}

/// Why a whole line is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is of this other format.
    Format(u32),
    /// It is no record, for this reason.
    Damaged(String),
}

/// Reads a line, with or without its newline.
///
/// # Errors
/// It is no record of this format.
pub fn parse<'a, L: Line<'a>>(line: &'a [u8]) -> Result<L, Unread> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    match serde_json::from_slice::<L>(line) {
        Ok(read) if read.format() == FORMAT => Ok(read),
        Ok(read) => Err(Unread::Format(read.format())),
        Err(error) => match serde_json::from_slice::<Versioned>(line) {
            Ok(Versioned { format }) if format != FORMAT => Err(Unread::Format(format)),
            _ => Err(Unread::Damaged(error.to_string())),
        },
    }
}
