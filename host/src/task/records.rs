//! Reads records from a data file, one at a time.
//!
//! Knows formats and lines, not what a record means. Memory does not grow with the number of
//! records: a JSON array, which cannot be read that way here, and a single record are capped.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::LineReader;
use super::raw::{DataFormat, Record};

/// The largest JSON array that is read, in bytes.
pub const ARRAY_MAX_BYTES: u64 = 64 << 20;
/// The largest single line that is read, in bytes.
pub const LINE_MAX_BYTES: u64 = 64 << 20;

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The data file.
    pub path: PathBuf,
    /// Line from 1, where the format has lines.
    pub line: Option<u64>,
    /// Position of the record from 0.
    pub index: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}, record {} (from 0)", self.path.display(), self.index),
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be opened or read; nothing after this place is known.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON array that is too large to be held.
    #[error("{} is a JSON array of {bytes} bytes; at most {ARRAY_MAX_BYTES} are held in memory: write it as JSON lines, which stream", path.display())]
    ArrayTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A line that is too long to be held.
    #[error("{}:{line} is longer than {LINE_MAX_BYTES} bytes; is this a file of lines?", path.display())]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The whole file is not what its format says.
    #[error("{} is not a {expected}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// One record is bad; the ones after it can be read.
    #[error("{place}: {reason}")]
    BadRecord {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
}

/// The format of a data file by its extension.
#[must_use]
pub fn format_of(path: &Path) -> Option<DataFormat> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Some(DataFormat::Jsonl),
        "json" => Some(DataFormat::Json),
        "csv" => Some(DataFormat::Csv),
        _ => None,
    }
}

/// An iterator over the records of a file, each with its place.
pub struct Records {
    path: PathBuf,
    index: u64,
    source: Source,
}

enum Source {
    Lines(LineReader),
    Array(std::vec::IntoIter<Value>),
    Csv { reader: Box<csv::Reader<File>>, header: csv::StringRecord },
    Ended,
}

impl Records {
    /// Opens a data file.
    ///
    /// # Errors
    /// [`RecordError`] when it cannot be opened, or as a whole is not of this format.
    pub fn open(path: &Path, format: DataFormat) -> Result<Self, RecordError> {
        let source = match format {
            DataFormat::Jsonl => Source::Lines(LineReader::open(path)?),
            DataFormat::Json => Source::Array(read_array(path)?.into_iter()),
            DataFormat::Csv => open_csv(path)?,
        };
        Ok(Self { path: path.to_owned(), index: 0, source })
    }

    fn read(&mut self) -> Option<Result<(Place, Record), RecordError>> {
        let index = self.index;
        let place = |line| Place { path: self.path.clone(), line, index };
        let bad = |place, reason| RecordError::BadRecord { place, reason };
        match &mut self.source {
            Source::Ended => None,
            Source::Array(values) => Some(match values.next()? {
                Value::Object(record) => Ok((place(None), record)),
                other => Err(bad(
                    place(None),
                    format!("a JSON object is needed, here is {}", kind(&other)),
                )),
            }),
            Source::Lines(lines) => loop {
                let (line, bytes) = match lines.next_line() {
                    Ok(found) => found?,
                    Err(error) => return Some(Err(error)),
                };
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let place = place(Some(line));
                return Some(match serde_json::from_slice::<Value>(bytes) {
                    Ok(Value::Object(record)) => Ok((place, record)),
                    Ok(other) => Err(bad(
                        place,
                        format!("a JSON object is needed, here is {}", kind(&other)),
                    )),
                    Err(error) => {
                        Err(bad(place, format!("not a line of JSON: {}", without_line(&error))))
                    }
                });
            },
            Source::Csv { reader, header } => {
                let mut row = csv::StringRecord::new();
                match reader.read_record(&mut row) {
                    Ok(false) => None,
                    Ok(true) => {
                        let record = header
                            .iter()
                            .zip(row.iter())
                            .map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())))
                            .collect();
                        Some(Ok((place(row.position().map(csv::Position::line)), record)))
                    }
                    Err(error) => Some(Err(csv_error(error, place, &self.path))),
                }
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<(Place, Record), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read()?;
        self.index += 1;
        if !matches!(item, Ok(_) | Err(RecordError::BadRecord { .. })) {
            self.source = Source::Ended;
        }
        Some(item)
    }
}

fn csv_error(error: csv::Error, place: impl Fn(Option<u64>) -> Place, path: &Path) -> RecordError {
    let line = error.position().map(csv::Position::line);
    let reason = match error.into_kind() {
        csv::ErrorKind::Io(source) => {
            return RecordError::Io { path: path.to_owned(), source };
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the header names {expected_len} fields, here are {len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("not UTF-8: {err}"),
        other => format!("{other:?}"),
    };
    RecordError::BadRecord { place: place(line), reason }
}

fn open_csv(path: &Path) -> Result<Source, RecordError> {
    let bad = |reason: String| RecordError::BadFile {
        path: path.to_owned(),
        expected: "CSV file with a header",
        reason,
    };
    let mut reader = Box::new(csv::Reader::from_reader(open(path)?));
    let header = reader.headers().map_err(|error| bad(error.to_string()))?.clone();
    for (i, name) in header.iter().enumerate() {
        if header.iter().take(i).any(|earlier| earlier == name) {
            return Err(bad(format!("the header names `{name}` twice")));
        }
    }
    Ok(Source::Csv { reader, header })
}

fn read_array(path: &Path) -> Result<Vec<Value>, RecordError> {
    let io = |source| RecordError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut file = open(path)?;
    let size = file.metadata().map_err(io)?.len();
    if size <= ARRAY_MAX_BYTES {
        (&mut file).take(ARRAY_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > ARRAY_MAX_BYTES {
        return Err(RecordError::ArrayTooLarge { path: path.to_owned(), bytes: size });
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    serde_json::from_slice(text).map_err(|error| RecordError::BadFile {
        path: path.to_owned(),
        expected: "JSON array",
        reason: error.to_string(),
    })
}

pub(super) fn open(path: &Path) -> Result<File, RecordError> {
    File::open(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The message of a JSON error with its column only: the line is that of the file.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => format!("{message} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8]) -> Vec<Result<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let hide = |error: RecordError| {
            error.to_string().replace(&format!("{}/", folder.path().display()), "")
        };
        match Records::open(&path, format_of(&path).unwrap()) {
            Err(error) => vec![Err(hide(error))],
            Ok(records) => records
                .map(|item| item.map(|(_, record)| Value::Object(record).to_string()).map_err(hide))
                .collect(),
        }
    }

    #[test]
    fn all_formats_give_records() {
        let expected =
            vec![Ok(r#"{"a":"x","b":"1"}"#.to_owned()), Ok(r#"{"a":"y, z","b":"2"}"#.to_owned())];
        assert_eq!(
            read(
                "d.jsonl",
                b"\xef\xbb\xbf{\"a\":\"x\",\"b\":\"1\"}\r\n\n{\"a\":\"y, z\",\"b\":\"2\"}"
            ),
            expected
        );
        assert_eq!(read("d.json", br#"[{"a":"x","b":"1"},{"a":"y, z","b":"2"}]"#), expected);
        assert_eq!(read("d.csv", b"\xef\xbb\xbfa,b\nx,1\n\"y, z\",2\n"), expected);
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_is_read() {
        let items = read("d.jsonl", b"{\"a\":1}\n{\"a\":\n[1]\n\xff\n{\"a\":2}\n");
        assert_eq!(
            items[1],
            Err("d.jsonl:2: not a line of JSON: EOF while parsing a value at column 5".into())
        );
        assert_eq!(items[2], Err("d.jsonl:3: a JSON object is needed, here is an array".into()));
        assert!(items[3].as_ref().unwrap_err().starts_with("d.jsonl:4: not a line of JSON"));
        assert_eq!(items[4], Ok(r#"{"a":2}"#.into()));
    }

    #[test]
    fn a_bad_csv_row_is_named_and_the_next_is_read() {
        let items = read("d.csv", b"a,b\n1\n2,3\n");
        assert_eq!(items[0], Err("d.csv:2: the header names 2 fields, here are 1".into()));
        assert_eq!(items[1], Ok(r#"{"a":"2","b":"3"}"#.into()));
        assert!(read("d.csv", b"a,a\n1,2\n")[0].is_err());
    }

    #[test]
    fn a_bad_array_is_refused_as_a_whole() {
        let items = read("d.json", br#"{"a":1}"#);
        assert!(
            items[0].as_ref().unwrap_err().starts_with("d.json is not a JSON array"),
            "{items:?}"
        );
        let items = read("d.json", br#"[{"a":1},2]"#);
        assert_eq!(
            items[1],
            Err("d.json, record 1 (from 0): a JSON object is needed, here is a number".into())
        );
    }

    #[test]
    fn a_large_array_is_refused_without_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.json");
        File::create(&path).unwrap().set_len(ARRAY_MAX_BYTES + 1).unwrap();
        let error = Records::open(&path, DataFormat::Json).err().unwrap();
        assert!(
            matches!(error, RecordError::ArrayTooLarge { bytes, .. } if bytes == ARRAY_MAX_BYTES + 1)
        );
    }
}
