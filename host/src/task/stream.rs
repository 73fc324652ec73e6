//! The samples of a task, rendered, one after the other.
//!
//! Reads files and blocks, so it belongs on a thread of its own. It must be read from the start and
//! in order even when some samples are done already, since few-shot examples are drawn in order.

use std::path::PathBuf;
use std::sync::Arc;

use super::data::{DataError, Samples};
use super::few_shot::{Drawer, FewShotError};
use super::raw::OnBadSample;
use super::records::Place;
use super::render::{Plan, RenderError, Rendered};
use super::resolve::Task;
use super::sample::{Sample, SampleId};

/// A sample that is ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The sample.
    pub sample: Sample,
    /// What is asked, and what is right.
    pub rendered: Rendered,
}

/// What a stream gives.
#[derive(Debug)]
pub enum Next {
    /// A sample to be asked.
    Ready(Box<Prepared>),
    /// A sample that is not to be asked, and is not rendered.
    PassedOver,
    /// A record that cannot be used and is left out, because the task says `on_bad_sample = "skip"`.
    Skipped {
        /// Position of the record from 0.
        index: u64,
        /// Why, and where.
        error: SampleError,
    },
}

/// Why the samples of a task end too early.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A record cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A record cannot be made into a question.
    #[error("{place}, sample `{id}`: {error}")]
    Render {
        /// Where the record stands.
        place: Place,
        /// The sample.
        id: SampleId,
        /// What is wrong.
        error: Box<RenderError>,
    },
    /// A sample is another one than it was.
    #[error(
        "{place}, sample `{id}`: the record is another one than the journal's answer belongs to; put the data back, \
         or start a new run (of a sweep's cells by --fresh); with --accept-changes such samples are asked again"
    )]
    Changed {
        /// Where the record stands.
        place: Place,
        /// The sample.
        id: SampleId,
    },
    /// There are no few-shot examples.
    #[error(transparent)]
    FewShot(#[from] FewShotError),
    /// The data set has no samples.
    #[error("{} has no samples", path.display())]
    Empty {
        /// The data file.
        path: PathBuf,
    },
    /// Every record was left out.
    #[error("none of the {skipped} records of {} can be used; the first: {first}", path.display())]
    NoneUsable {
        /// The data file.
        path: PathBuf,
        /// How many records were left out.
        skipped: u64,
        /// What was wrong with the first.
        first: String,
    },
}

impl SampleError {
    fn spoils_one_record(&self) -> bool {
        match self {
            Self::Data(error) => error.spoils_one_record(),
            Self::Render { .. } => true,
            _ => false,
        }
    }
}

/// What is to become of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is rendered.
    Yes,
    /// It is passed over.
    No,
    /// It should be passed over, and is not what it should be.
    Changed,
}

type Choice = Box<dyn Fn(&Sample) -> Wanted + Send>;

/// An iterator over the rendered samples of a task. After an error it ends. It never ends without
/// having given a sample or an error.
pub struct SampleStream {
    plan: Arc<Plan>,
    samples: Samples,
    drawer: Option<Drawer>,
    wanted: Option<Choice>,
    on_bad_sample: OnBadSample,
    path: PathBuf,
    left: Option<u64>,
    index: u64,
    ready: u64,
    first_skipped: Option<String>,
    ended: bool,
}

impl Task {
    /// Opens the data files and reads the few-shot pool.
    ///
    /// # Errors
    /// [`SampleError`] when a file cannot be read or the pool has too few examples.
    pub fn samples(&self) -> Result<SampleStream, SampleError> {
        Ok(SampleStream {
            plan: Arc::clone(&self.plan),
            samples: self.data.open()?,
            drawer: self
                .few_shot
                .as_ref()
                .map(|few_shot| Drawer::open(few_shot, &|record| self.plan.is_example(record)))
                .transpose()?,
            wanted: None,
            on_bad_sample: self.on_bad_sample,
            path: self.data.path.clone(),
            left: self.limit,
            index: 0,
            ready: 0,
            first_skipped: None,
            ended: false,
        })
    }
}

impl SampleStream {
    /// The same without the samples that are not wanted.
    pub fn choose(self, wanted: impl Fn(&Sample) -> Wanted + Send + 'static) -> Self {
        Self { wanted: Some(Box::new(wanted)), ..self }
    }

    /// A sample, rendered; none if it is passed over.
    fn prepare(
        &mut self,
        item: Result<(Place, Sample), DataError>,
    ) -> Result<Option<Prepared>, SampleError> {
        let (place, sample) = item?;
        // Also one that is passed over draws, so that those after it draw what they would have drawn.
        let examples = match &mut self.drawer {
            Some(drawer) => drawer.draw(&sample)?,
            None => Vec::new(),
        };
        match self.wanted.as_ref().map_or(Wanted::Yes, |wanted| wanted(&sample)) {
            Wanted::Yes => {}
            Wanted::No => return Ok(None),
            Wanted::Changed => return Err(SampleError::Changed { place, id: sample.id }),
        }
        match self.plan.render(&sample.record, &examples) {
            Ok(rendered) => Ok(Some(Prepared { sample, rendered })),
            Err(error) => Err(SampleError::Render { place, id: sample.id, error: Box::new(error) }),
        }
    }

    fn end(&mut self) -> Option<Result<Next, SampleError>> {
        self.ended = true;
        if self.ready > 0 {
            return None;
        }
        let path = self.path.clone();
        Some(Err(match self.first_skipped.take() {
            None => SampleError::Empty { path },
            Some(first) => SampleError::NoneUsable { path, skipped: self.index, first },
        }))
    }
}

impl Iterator for SampleStream {
    type Item = Result<Next, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == Some(0) {
            return self.end();
        }
        let Some(item) = self.samples.next() else {
            return self.end();
        };
        self.left = self.left.map(|left| left - 1);
        let index = self.index;
        self.index += 1;
        Some(match self.prepare(item) {
            Ok(prepared) => {
                self.ready += 1;
                Ok(prepared.map_or(Next::PassedOver, |prepared| Next::Ready(Box::new(prepared))))
            }
            Err(error) if self.on_bad_sample == OnBadSample::Skip && error.spoils_one_record() => {
                self.first_skipped.get_or_insert_with(|| error.to_string());
                Ok(Next::Skipped { index, error })
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::raw::RawTask;
    use crate::task::render::Form;
    use std::path::Path;

    const PIQA: &str = r#"
        id = "piqa"
        kind = "multiple_choice"
        target = "{{ label }}"
        prompt = { user = "Question: {{ goal }}\nAnswer:" }
        choices = { texts = ["{{ sol1 }}", "{{ sol2 }}"] }
        data = { path = "d.jsonl", labels = "d.lst" }
    "#;
    const DATA: &str = "{\"goal\":\"g0\",\"sol1\":\"a0\",\"sol2\":\"b0 \"}\n{\"goal\":\"g1\",\"sol1\":\"a1\",\"sol2\":\"b1\"}\n";

    fn stream(folder: &Path, task: &str) -> SampleStream {
        let raw: RawTask = toml::from_str(task).unwrap();
        Task::resolve(raw, folder).unwrap().samples().unwrap()
    }

    /// What a task gives for data and labels, one line an item, errors without the folder.
    fn run(task: &str, data: &str, labels: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("d.jsonl"), data).unwrap();
        std::fs::write(folder.path().join("d.lst"), labels).unwrap();
        let hide = |error: SampleError| {
            error.to_string().replace(&format!("{}/", folder.path().display()), "")
        };
        stream(folder.path(), task)
            .map(|item| match item {
                Ok(Next::Ready(prepared)) => {
                    format!(
                        "{}: {}",
                        prepared.sample.id,
                        serde_json::to_string(&prepared.rendered).unwrap()
                    )
                }
                Ok(Next::Skipped { index, error }) => format!("{index} skipped: {}", hide(error)),
                Ok(Next::PassedOver) => "passed over".to_owned(),
                Err(error) => format!("error: {}", hide(error)),
            })
            .collect()
    }

    #[test]
    fn a_stream_can_be_read_on_another_thread() {
        fn check<T: Send + 'static>() {}
        check::<SampleStream>();
    }

    #[test]
    fn piqa_is_asked_as_lm_eval_asks_it() {
        let items = run(PIQA, DATA, "1\n0\n");
        let expected = r#"0: {"prompt":{"text":"Question: g0\nAnswer:"},"form":{"multiple_choice":{"continuations":[" a0"," b0 "],"choices":{"texts":["a0","b0 "],"labels":["A","B"]},"gold":[1],"unconditional":false}}}"#;
        assert_eq!(items[0], expected);
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn examples_stand_before_the_question() {
        let task = format!("{PIQA}\nfew_shot = {{ n = 1 }}");
        let items = run(&task, DATA, "1\n0\n");
        assert!(
            items[0].contains(r"Question: g1\nAnswer: a1\n\nQuestion: g0\nAnswer:"),
            "{}",
            items[0]
        );
        assert!(
            items[1].contains(r"Question: g0\nAnswer: b0 \n\nQuestion: g1\nAnswer:"),
            "{}",
            items[1]
        );
    }

    #[test]
    fn the_fallback_asks_for_a_label() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("d.jsonl"), DATA).unwrap();
        std::fs::write(folder.path().join("d.lst"), "1\n0\n").unwrap();
        let raw: RawTask = toml::from_str(&format!("{PIQA}\nfallback = 'generate'")).unwrap();
        let mut task = Task::resolve(raw, folder.path()).unwrap();
        task.limit = Some(3);
        let task = task.fallback().unwrap().unwrap();
        assert_eq!(task.limit, Some(3), "the run's limit, which the typed task does not know");
        assert!(task.generation.as_ref().unwrap().stop.is_empty() && task.fallback().is_none());
        let Some(Ok(Next::Ready(prepared))) = task.samples().unwrap().next() else {
            panic!("no sample")
        };
        let text = "Question: g0\nAnswer:\n\nOptions:\nA. a0\nB. b0 \n\nReply with only the label of the right option (A, B).";
        assert_eq!(prepared.rendered.prompt, crate::task::prompt::Prompt::Text(text.to_owned()));
        assert!(matches!(prepared.rendered.form, Form::Generate(form) if form.references == ["B"]));
    }

    #[test]
    fn samples_that_are_passed_over_change_nothing_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let record = |i: usize| format!("{{\"goal\":\"g{i}\",\"sol1\":\"a{i}\",\"sol2\":\"b\"}}\n");
        std::fs::write(folder.path().join("d.jsonl"), (0..9).map(record).collect::<String>())
            .unwrap();
        std::fs::write(folder.path().join("d.lst"), "0\n".repeat(9)).unwrap();
        let task = format!("{PIQA}\nfew_shot = {{ n = 2, sampler = 'lm-eval' }}");
        let all: Vec<_> = stream(folder.path(), &task).map(Result::unwrap).collect();
        let some = stream(folder.path(), &task).choose(|sample| match sample.index {
            7 => Wanted::Changed,
            index if index % 3 == 1 => Wanted::Yes,
            _ => Wanted::No,
        });
        let some: Vec<_> = some.collect();
        assert_eq!(some.len(), 8);
        for (index, (all, some)) in all.iter().zip(&some).enumerate() {
            match (all, some) {
                (Next::Ready(all), Ok(Next::Ready(some))) => assert_eq!(all, some),
                (_, Ok(Next::PassedOver)) => assert!(index % 3 != 1),
                (_, Err(error)) => {
                    let error = error.to_string();
                    assert!(
                        error.contains("d.jsonl:8, sample `7`: the record is another"),
                        "{error}"
                    );
                }
                other => panic!("{index}: {other:?}"),
            }
        }
    }

    #[test]
    fn bad_input_stops_with_its_place() {
        let table = [
            (DATA, "1\n2\n", "error: d.jsonl:2, sample `1`: wrong label: `target` is 2"),
            (
                "{\"goal\":1}\n",
                "0\n",
                "error: d.jsonl:1, sample `0`: template `choices.texts[0]`, line 1: `",
            ),
            ("{\"goal\"\n", "0\n", "error: d.jsonl:1: not a line of JSON"),
            (DATA, "1\n", "error: d.lst ends after 1 labels, but d.jsonl:2"),
            ("", "", "error: d.jsonl has no samples"),
            ("\n\n", "", "error: d.jsonl has no samples"),
        ];
        for (data, labels, expected) in table {
            let items = run(PIQA, data, labels);
            let last = items.last().unwrap();
            assert!(last.starts_with(expected), "{last}");
        }
    }

    #[test]
    fn bad_records_can_be_skipped_but_not_all_of_them() {
        let skip = PIQA.replace("labels =", "on_bad_sample = 'skip', labels =");
        let items = run(&skip, DATA, "1\n7\n");
        assert!(
            items[0].starts_with("0: ") && items[1].starts_with("1 skipped: d.jsonl:2, sample `1`"),
            "{items:?}"
        );
        // Nor is one an example for another.
        for sampler in ["first", "random", "lm-eval"] {
            let shots = format!("{skip}\nfew_shot = {{ n = 2, sampler = '{sampler}' }}");
            let items = run(&shots, &DATA.repeat(3), "1\n7\n0\n1\n0\n1\n");
            let skipped = items.iter().filter(|item| item.contains("skipped")).count();
            assert_eq!((items.len(), skipped), (6, 1), "{items:?}");
        }
        let items = run(&skip, DATA, "8\n7\n");
        assert!(
            items[2].starts_with("error: none of the 2 records of d.jsonl can be used"),
            "{items:?}"
        );
        let items = run(&skip, DATA, "1\n");
        assert!(
            items[1].starts_with("error: d.lst ends"),
            "files that do not go together are no bad record"
        );
    }

    #[test]
    fn a_limit_ends_early_and_without_a_look_at_the_rest() {
        let limited = PIQA.replace("labels =", "limit = 1, labels =");
        assert_eq!(run(&limited, &format!("{DATA}oops"), "1\n0\n1\n").len(), 1);
    }

    #[test]
    fn lists_in_records_are_options_and_targets() {
        let task = r#"
            id = "arc"
            kind = "multiple_choice"
            target = "{{ answerKey }}"
            mutual_information = true
            prompt = { user = "{{ question }}\n{{ choice_lines }}\nAnswer:", format = "chat", system = "Be right." }
            choices = { field = "choices.text", labels_field = "choices.label" }
            data = { path = "d.jsonl" }
        "#;
        let data =
            r#"{"question":"q","choices":{"text":["x","y"],"label":["1","2"]},"answerKey":["2"]}"#;
        let expected = r#"0: {"prompt":{"chat":{"messages":[{"role":"system","text":"Be right."},{"role":"user","text":"q\n1. x\n2. y\nAnswer:"}]}},"form":{"multiple_choice":{"continuations":["x","y"],"choices":{"texts":["x","y"],"labels":["1","2"]},"gold":[1],"unconditional":true}}}"#;
        assert_eq!(run(task, data, ""), [expected]);
    }

    #[test]
    fn generated_answers_have_references_of_their_form() {
        let task = |extract: &str| {
            format!(
                "id = 'g'\nkind = 'generate'\ntarget = '{{{{ answer }}}}'\nprompt = {{ user = '{{{{ question }}}}' }}\ndata = {{ path = 'd.jsonl' }}\n{extract}"
            )
        };
        let data = r##"{"question":"q","answer":"so 2\n#### 1,018"}"##;
        let items = run(&task("extract = { kind = 'number' }"), data, "");
        assert!(items[0].contains(r#""references":["1018"]"#), "{items:?}");
        let items = run(&task(""), data, "");
        assert!(items[0].contains(r##""references":["so 2\n#### 1,018"]"##), "{items:?}");
        // A pattern's match has no spaces around it.
        let pattern = "extract = { kind = 'regex', pattern = '.+' }";
        let items = run(&task(pattern), r#"{"question":"q","answer":" 18\n"}"#, "");
        assert!(items[0].contains(r#""references":["18"]"#), "{items:?}");
        assert!(
            run(&task(pattern), r#"{"question":"q","answer":" "}"#, "")[0].contains("`target`")
        );
        let items =
            run(&task("extract = { kind = 'number' }"), r#"{"question":"q","answer":"none"}"#, "");
        assert!(items[0].contains("wrong label: a number is extracted"), "{items:?}");
        for (typed, read) in [
            ("12345678901234567890", "12345678901234567890"),
            ("6.02e23", "602000000000000000000000"),
            ("0.30000000000000004", "0.30000000000000004"),
        ] {
            let data = format!("{{\"question\":\"q\",\"answer\":{typed}}}");
            let items = run(&task("extract = { kind = 'number' }"), &data, "");
            assert!(items[0].contains(&format!(r#""references":["{read}"]"#)), "{items:?}");
        }
        let long = r#"{"question":"q","answer":123456789012345678901234}"#;
        assert!(run(&task(""), long, "")[0].contains("write it in quotes"));
    }

    #[test]
    fn a_target_that_names_an_option_is_its_label_and_its_text_however_it_is_found() {
        let references = |extract: &str, texts: [&str; 2], answer: &str| {
            let task = format!(
                "id = 'g'\nkind = 'generate'\ntarget = '{{{{ answer }}}}'\nprompt = {{ user = '{{{{ question }}}}' }}\n\
                 data = {{ path = 'd.jsonl' }}\nchoices = {{ texts = {texts:?} }}\n{extract}"
            );
            let data = format!(r#"{{"question":"q","answer":{answer}}}"#);
            run(&task, &data, "").remove(0)
        };
        let pattern = "extract = { kind = 'regex', pattern = '[AB]' }";
        let number = "extract = { kind = 'number' }";
        for (extract, texts, answer, expected) in [
            (pattern, ["wood", "iron"], "1", r#"["B","iron"]"#),
            (pattern, ["wood", "iron"], r#""wood""#, r#"["A","wood"]"#),
            (pattern, ["B", "A"], r#""B""#, r#"["B"]"#),
            (pattern, ["wood", "iron"], r#""(A)""#, r#"["(A)"]"#),
            ("extract = { kind = 'none' }", ["wood", "iron"], "0", r#"["A","wood"]"#),
            (number, ["12 kg", "15 kg"], r#""B""#, r#"["15"]"#),
            (number, ["12 kg", "15 kg"], "15", r#"["15"]"#),
            ("", ["wood", "iron"], "1", r#"["B"]"#),
        ] {
            let item = references(extract, texts, answer);
            assert!(item.contains(&format!(r#""references":{expected}"#)), "{answer}: {item}");
        }
        assert!(references(pattern, ["0", "1 of them"], "0").contains(r#"["A","0"]"#));
        assert!(references(pattern, ["1", "0"], "0").contains("set `target_is`"));
    }

    #[test]
    fn a_text_for_perplexity_is_not_empty() {
        let task = "id = 'w'\nkind = 'perplexity'\nprompt = { user = '{{ text }}' }\ndata = { path = 'd.jsonl' }";
        let items = run(task, "{\"text\":\" a\"}\n{\"text\":\"\"}\n", "");
        assert_eq!(items[0], r#"0: {"prompt":{"text":""},"form":{"rolling":{"text":" a"}}}"#);
        assert_eq!(items[1], "error: d.jsonl:2, sample `1`: the text is empty");
    }

    #[test]
    fn real_data_sets_are_read_to_their_end() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        if !data.exists() {
            return;
        }
        let piqa =
            PIQA.replace("d.jsonl", "piqa/valid.jsonl").replace("d.lst", "piqa/valid-labels.lst");
        let shots = format!("{piqa}\nfew_shot = {{ n = 3, sampler = 'lm-eval' }}");
        let gsm8k = r##"
            id = "gsm8k"
            kind = "generate"
            target = "{{ answer.split('####')[-1].strip() }}"
            prompt = { user = "Question: {{ question }}\nAnswer:", format = "chat" }
            data = { path = "gsm8k/test.jsonl" }
            extract = { kind = "number" }
        "##;
        for (task, expected) in [(piqa.as_str(), 1838), (&shots, 1838), (gsm8k, 1319)] {
            let ready =
                stream(&data, task).filter(|item| matches!(item, Ok(Next::Ready(_)))).count();
            assert_eq!(ready, expected, "{task}");
        }
        let Some(Ok(Next::Ready(first))) = stream(&data, &piqa).nth(2) else { panic!("no sample") };
        let Form::MultipleChoice(form) = first.rendered.form else { panic!("no options") };
        assert_eq!(form.choices.texts.len(), 2);
    }
}
