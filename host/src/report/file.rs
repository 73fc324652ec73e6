//! A report's file.

use std::{io::Write, path::Path};

use super::error::ReportError;
use crate::store::whole_file;

/// Writes it: as a whole, or not at all.
///
/// # Errors
/// What `write` says, or that the file cannot be written.
pub fn write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    whole_file::replace(path, |file| write(file)).map_err(|error| match error {
        ReportError::Output(source) => ReportError::Write { path: path.to_owned(), source },
        error => error,
    })
}
