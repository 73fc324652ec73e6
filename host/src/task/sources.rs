//! The files of a task: data, labels, few-shot examples. They are looked for, not read.

use std::path::{Path, PathBuf};

use super::data::DataSet;
use super::error::TaskProblem;
use super::few_shot::{FewShot, Pool};
use super::raw::{DataFormat, OnBadSample, RawFewShot, RawTask};
use super::records::format_of;
use super::resolve::Files;

/// The data set of a task.
pub(super) fn data_set(
    raw: &RawTask,
    base_dir: &Path,
    files: Files,
) -> Result<DataSet, TaskProblem> {
    let labels = raw.data.labels.as_ref();
    let existing = |key, base_dir: &Path, typed: &Path| match files {
        Files::Needed => existing(key, base_dir, typed),
        Files::Past => Ok(base_dir.join(typed)),
    };
    Ok(DataSet {
        path: existing("data.path", base_dir, &raw.data.path)?,
        format: data_format("data.path", &raw.data.path, raw.data.format)?,
        labels: labels.map(|path| existing("data.labels", base_dir, path)).transpose()?,
        id_field: raw.data.id_field.clone(),
        cluster_field: raw.cluster.clone(),
    })
}

fn existing(key: &'static str, base_dir: &Path, typed: &Path) -> Result<PathBuf, TaskProblem> {
    let path = base_dir.join(typed);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let found = std::fs::metadata(&path).and_then(|metadata| match metadata.is_file() {
        true => std::fs::File::open(&path).map(drop),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    match found {
        Ok(()) => Ok(path),
        Err(source) => Err(TaskProblem::File {
            key,
            path,
            typed: typed.to_owned(),
            base_dir: base_dir.to_owned(),
            source,
        }),
    }
}

fn data_format(
    key: &'static str,
    path: &Path,
    typed: Option<DataFormat>,
) -> Result<DataFormat, TaskProblem> {
    typed
        .or_else(|| format_of(path))
        .ok_or_else(|| TaskProblem::UnknownFormat { key, path: path.to_owned() })
}

/// Where few-shot examples come from and how they are chosen.
pub(super) fn examples(
    few_shot: &RawFewShot,
    raw: &RawTask,
    base_dir: &Path,
    data: &DataSet,
) -> Result<FewShot, TaskProblem> {
    let contradiction = |key, hint| TaskProblem::Contradiction { key, kind: raw.kind, hint };
    let skip_bad = raw.data.on_bad_sample == OnBadSample::Skip;
    let pool = match (&few_shot.examples, &few_shot.source) {
        (Some(_), Some(_)) => {
            return Err(contradiction(
                "few_shot.source",
                "there are `few_shot.examples`; give one of them",
            ));
        }
        (Some(examples), None) => Pool::Inline(examples.clone()),
        (None, Some(source)) => {
            let path = existing("few_shot.source", base_dir, source)?;
            let labels = few_shot.source_labels.as_ref();
            let labels = labels
                .map(|path| existing("few_shot.source_labels", base_dir, path))
                .transpose()?;
            let is_own =
                matches!((path.canonicalize(), data.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
            if is_own {
                Pool::OwnData(data.clone(), skip_bad)
            } else {
                let format = data_format("few_shot.source", source, None)?;
                Pool::File(DataSet { path, format, labels, id_field: None, cluster_field: None })
            }
        }
        (None, None) => Pool::OwnData(data.clone(), skip_bad),
    };
    if few_shot.source_labels.is_some() && few_shot.source.is_none() {
        return Err(contradiction("few_shot.source_labels", "it belongs to `few_shot.source`"));
    }
    let n = match (few_shot.n, &pool) {
        (Some(0), _) => {
            return Err(TaskProblem::value(
                "few_shot.n",
                "at least 1; leave out `few_shot` for none",
            ));
        }
        (Some(n), Pool::Inline(examples)) if n as usize > examples.len() => {
            return Err(TaskProblem::value(
                "few_shot.n",
                "at most the number of `few_shot.examples`",
            ));
        }
        (Some(n), _) => n as usize,
        (None, Pool::Inline(examples)) if !examples.is_empty() => examples.len(),
        (None, _) => {
            return Err(TaskProblem::value(
                "few_shot.n",
                "given, as the number of examples to take",
            ));
        }
    };
    Ok(FewShot { n, sampler: few_shot.sampler, seed: few_shot.seed, pool })
}
