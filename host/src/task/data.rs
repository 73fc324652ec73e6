//! The samples of a data file: records joined with their labels and given an identity.
//!
//! Does not know templates or what a label means. Of all samples seen it keeps a few bits each, and only where
//! ids can repeat.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::LineReader;
use super::raw::{DataFormat, Record};
use super::records::{Place, RecordError, Records};
use super::sample::{Digest, Sample, SampleId};
use super::seen::Seen;

/// A data set whose files are known to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// The data file.
    pub path: PathBuf,
    /// Its format.
    pub format: DataFormat,
    /// A file with one label a line.
    pub labels: Option<PathBuf>,
    /// The field that identifies a sample.
    pub id_field: Option<String>,
    /// The field that says which samples belong together.
    pub cluster_field: Option<String>,
}

/// Why a sample cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Its record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The label file ends before the data file.
    #[error("{} ends after {labels} labels, but {place} is a further record: there must be one label a line", path.display())]
    TooFewLabels {
        /// The label file.
        path: PathBuf,
        /// How many labels it has.
        labels: u64,
        /// The record without a label.
        place: Place,
    },
    /// The label file goes on after the data file.
    #[error("{}:{line} is a further label, but the data ends after {records} records: there must be one label a line", path.display())]
    TooManyLabels {
        /// The label file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How many records there are.
        records: u64,
    },
    /// A line of the label file holds nothing.
    #[error("{}:{line}: a label is needed, the line is empty or not UTF-8", path.display())]
    BadLabel {
        /// The label file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// A record has a field `label` beside its label file.
    #[error(
        "{place}: the record has a field `label` of its own beside the label file; leave out `data.labels`"
    )]
    LabelTwice {
        /// Where.
        place: Place,
    },
    /// The id field is missing, or neither text nor a number.
    #[error("{place}: `id_field` is `{field}`, and the record has no text or number of this name")]
    NoId {
        /// Where.
        place: Place,
        /// The field.
        field: String,
    },
    /// The cluster's field is missing, or neither text nor a number.
    #[error("{place}: `cluster` is `{field}`, and the record has no text or number of this name")]
    NoCluster {
        /// Where.
        place: Place,
        /// The field.
        field: String,
    },
    /// It cannot be told whether an id came before.
    #[error(
        "cannot read the ids of earlier samples in a temporary file (TMPDIR names its folder): {0}"
    )]
    Ids(std::io::Error),
    /// An id that another sample has too.
    #[error(
        "{place}: the id `{id}` was used before; ids must differ (leave out `data.id_field` to count records)"
    )]
    DuplicateId {
        /// Where.
        place: Place,
        /// The id.
        id: SampleId,
    },
}

impl DataError {
    /// Whether only one record is bad, so that the ones after it can be used. A mistake in how files
    /// belong together, or ids that repeat, spoil the whole set.
    #[must_use]
    pub fn spoils_one_record(&self) -> bool {
        matches!(
            self,
            Self::Record(RecordError::BadRecord { .. })
                | Self::NoId { .. }
                | Self::NoCluster { .. }
        )
    }
}

impl DataSet {
    /// The files that samples are read from.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        std::iter::once(self.path.as_path()).chain(self.labels.as_deref()).collect()
    }

    /// Opens the files.
    ///
    /// # Errors
    /// [`DataError`] when one cannot be opened.
    pub fn open(&self) -> Result<Samples, DataError> {
        let records = Records::open(&self.path, self.format)?;
        let labels = self.labels.as_deref().map(Labels::open).transpose()?;
        let (id_field, cluster_field) = (self.id_field.clone(), self.cluster_field.clone());
        let seen = Seen::default();
        Ok(Samples { records, labels, id_field, cluster_field, seen, count: 0, ended: false })
    }
}

/// An iterator over the samples of a data set, each with the place of its record.
pub struct Samples {
    records: Records,
    labels: Option<Labels>,
    id_field: Option<String>,
    cluster_field: Option<String>,
    seen: Seen,
    count: u64,
    ended: bool,
}

impl Samples {
    fn read(&mut self) -> Option<Result<(Place, Sample), DataError>> {
        let record = self.records.next();
        let label = self.labels.as_mut().map(Labels::next);
        let Some(record) = record else {
            // A label left over means that the two files do not belong together.
            return match label {
                Some(Ok(Some(_)) | Err(DataError::BadLabel { .. })) => {
                    self.labels.as_ref().map(|labels| {
                        Err(DataError::TooManyLabels {
                            path: labels.reader_path.clone(),
                            line: labels.count,
                            records: self.count,
                        })
                    })
                }
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(None)) | None => None,
            };
        };
        let index = self.count;
        self.count += 1;
        Some(self.join(index, record, label))
    }

    fn join(
        &mut self,
        index: u64,
        record: Result<(Place, Record), RecordError>,
        label: Option<Result<Option<Value>, DataError>>,
    ) -> Result<(Place, Sample), DataError> {
        let (place, mut record) = record?;
        if let Some(label) = label {
            let Some(label) = label? else {
                let path = self.labels.as_ref().map(|l| l.reader_path.clone()).unwrap_or_default();
                return Err(DataError::TooFewLabels { path, labels: index, place });
            };
            if record.contains_key("label") {
                return Err(DataError::LabelTwice { place });
            }
            record.insert("label".to_owned(), label);
        }
        let cluster = match &self.cluster_field {
            None => None,
            Some(field) => match name_in(&record, field) {
                Some(cluster) => Some(cluster),
                None => return Err(DataError::NoCluster { place, field: field.clone() }),
            },
        };
        let id = match &self.id_field {
            None => SampleId(index.to_string()),
            Some(field) => {
                let Some(id) = name_in(&record, field) else {
                    return Err(DataError::NoId { place, field: field.clone() });
                };
                let hash = blake3::hash(id.as_bytes());
                let mut key = [0u8; 16];
                key.copy_from_slice(&hash.as_bytes()[..16]);
                let id = SampleId(id);
                let is_new = self.seen.insert(u128::from_le_bytes(key)).map_err(DataError::Ids)?;
                if !is_new {
                    return Err(DataError::DuplicateId { place, id });
                }
                id
            }
        };
        let digest = Digest::of(&record);
        Ok((place, Sample { id, index, record, digest, cluster }))
    }
}

/// A field that names something: a text that is not empty, or a number.
fn name_in(record: &Record, field: &str) -> Option<String> {
    match record.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

impl Iterator for Samples {
    type Item = Result<(Place, Sample), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read();
        self.ended = match &item {
            None => true,
            Some(Err(error)) => !error.spoils_one_record(),
            Some(Ok(_)) => false,
        };
        item
    }
}

/// A label file, one label a line. Whole numbers become numbers, anything else a text.
struct Labels {
    reader: LineReader,
    reader_path: PathBuf,
    count: u64,
}

impl Labels {
    fn open(path: &Path) -> Result<Self, DataError> {
        Ok(Self { reader: LineReader::open(path)?, reader_path: path.to_owned(), count: 0 })
    }

    /// The next label; none at the end. Empty lines at the end are no labels.
    fn next(&mut self) -> Result<Option<Value>, DataError> {
        let Some((line, bytes)) = self.reader.next_line()? else {
            return Ok(None);
        };
        self.count = line;
        let bad = || DataError::BadLabel { path: self.reader_path.clone(), line };
        let text = std::str::from_utf8(bytes).map_err(|_| bad())?.trim().to_owned();
        if text.is_empty() {
            while let Some((_, rest)) = self.reader.next_line()? {
                if !rest.iter().all(u8::is_ascii_whitespace) {
                    return Err(bad());
                }
            }
            return Ok(None);
        }
        Ok(Some(match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::String(text),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(
        data: &str,
        labels: Option<&str>,
        id_field: Option<&str>,
    ) -> Vec<Result<Sample, DataError>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        std::fs::write(&path, data).unwrap();
        let labels = labels.map(|text| {
            let path = folder.path().join("labels.lst");
            std::fs::write(&path, text).unwrap();
            path
        });
        let set = DataSet {
            path,
            format: DataFormat::Jsonl,
            labels,
            id_field: id_field.map(str::to_owned),
            cluster_field: None,
        };
        set.open().unwrap().map(|item| item.map(|(_, sample)| sample)).collect()
    }

    #[test]
    fn labels_join_their_records() {
        let samples = read("{\"a\":1}\n{\"a\":2}\n{\"a\":3}", Some("0\r\nB\n007\n\n"), None);
        let labels: Vec<&Value> =
            samples.iter().map(|s| &s.as_ref().unwrap().record["label"]).collect();
        assert_eq!(labels, [&json!(0), &json!("B"), &json!("007")]);
    }

    #[test]
    fn a_bad_record_uses_up_its_label_and_its_index() {
        let samples = read("{\"a\":1}\noops\n{\"a\":3}\n", Some("0\n1\n2\n"), None);
        assert!(samples[1].as_ref().unwrap_err().spoils_one_record());
        let third = samples[2].as_ref().unwrap();
        assert_eq!((third.index, third.id.0.as_str(), &third.record["label"]), (2, "2", &json!(2)));
    }

    #[test]
    fn label_and_data_files_must_be_of_one_length() {
        let samples = read("{\"a\":1}\n{\"a\":2}\n", Some("0\n"), None);
        assert!(
            matches!(samples[1], Err(DataError::TooFewLabels { labels: 1, .. })),
            "{samples:?}"
        );
        let samples = read("{\"a\":1}\n", Some("0\n1\n"), None);
        assert!(
            matches!(samples[1], Err(DataError::TooManyLabels { line: 2, records: 1, .. })),
            "{samples:?}"
        );
        let samples = read("{\"a\":1}\n{\"a\":1}\n", Some("\n1\n"), None);
        assert!(matches!(samples[0], Err(DataError::BadLabel { line: 1, .. })), "{samples:?}");
        let samples = read("{\"label\":1}\n", Some("1\n"), None);
        assert!(matches!(samples[0], Err(DataError::LabelTwice { .. })));
    }

    #[test]
    fn a_record_without_its_cluster_is_a_bad_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        std::fs::write(&path, "{\"c\":\"x\"}\n{\"c\":7}\n{\"c\":\"\"}\n{}\n{\"c\":7}\n").unwrap();
        let cluster_field = Some("c".to_owned());
        let set = DataSet {
            path,
            format: DataFormat::Jsonl,
            labels: None,
            id_field: None,
            cluster_field,
        };
        let clusters: Vec<Option<String>> = set
            .open()
            .unwrap()
            .map(|item| match item {
                Ok((_, sample)) => sample.cluster,
                Err(error) => {
                    assert!(error.spoils_one_record());
                    let said = "`cluster` is `c`, and the record has no text or number";
                    assert!(error.to_string().contains(said), "{error}");
                    None
                }
            })
            .collect();
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(clusters, [name("x"), name("7"), None, None, name("7")]);
    }

    #[test]
    fn ids_come_from_their_field_and_differ() {
        let samples =
            read("{\"id\":\"x\"}\n{\"id\":7}\n{}\n{\"id\":\"7\"}\n{\"id\":8}\n", None, Some("id"));
        assert_eq!(samples[0].as_ref().unwrap().id.0, "x");
        assert_eq!(samples[1].as_ref().unwrap().id.0, "7");
        assert!(matches!(samples[2], Err(DataError::NoId { .. })));
        assert!(matches!(&samples[3], Err(DataError::DuplicateId { id, .. }) if id.0 == "7"));
        assert_eq!(samples.len(), 4, "nothing follows a set that is spoilt");
    }
}
