//! The cache as its users meet it: through one file, from several processes, whole or damaged.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use plugin_api::{Completion, message::Description};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{entry::tests::generate, *};
use crate::secret::Secret;

/// What was warned of.
type Warnings = Arc<Mutex<Vec<String>>>;

fn open(folder: &Path) -> (Arc<ResponseCache>, Warnings) {
    let warnings = Warnings::default();
    let told = Arc::clone(&warnings);
    let secret = Secret::new("sk-canary-1".into());
    let redactor = Arc::new(Redactor::new([("key", &secret)]));
    let cache = ResponseCache::open(folder, redactor, move |text| {
        told.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    });
    (cache, warnings)
}

fn identity(model: &str) -> Identity {
    let maps = BTreeMap::new();
    Identity::new(&Decisive {
        backend: "b",
        plugin: "p",
        plugin_sha256: "00",
        model: Some(model),
        servers: &[],
        config: &Value::Null,
        env: &maps,
        assets: &maps,
        description: &Description::default(),
        is_mock: false,
    })
}

fn says(text: &str) -> Vec<Answer> {
    vec![Answer::Completion(Completion::new(text, "stop"))]
}

/// What the backend's cache says to a prompt.
async fn said(cache: &BackendCache, prompt: &str, repeat: u32) -> Option<String> {
    let requests = [generate(prompt, 1)];
    let answers = cache.get(cache.key(&requests, repeat), &requests).await?;
    match answers.as_slice() {
        [Answer::Completion(completion)] => Some(completion.choices[0].text.clone()),
        other => panic!("{other:?}"),
    }
}

fn keep(cache: &BackendCache, prompt: &str, repeat: u32, text: &str) {
    let requests = [generate(prompt, 1)];
    cache.put(cache.key(&requests, repeat), &requests, &says(text));
}

#[tokio::test]
async fn what_one_run_kept_the_next_one_finds_and_no_other_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = &folder.path().join("made/when/needed");
    let (cache, warnings) = open(folder);
    let of = cache.of(identity("m"));
    assert_eq!(said(&of, "q", 0).await, None);
    keep(&of, "q", 0, "first");
    keep(&of, "q", 1, "second");
    // Also before it is written.
    assert_eq!(said(&of, "q", 0).await.as_deref(), Some("first"));
    cache.finish().await;

    let (cache, more) = open(folder);
    let of = cache.of(identity("m"));
    assert_eq!(said(&of, "q", 0).await.as_deref(), Some("first"));
    assert_eq!(said(&of, "q", 1).await.as_deref(), Some("second"));
    assert_eq!(said(&of, "q", 2).await, None);
    assert_eq!(said(&cache.of(identity("n")), "q", 0).await, None);
    cache.finish().await;
    let stats = stats(&file(folder)).unwrap();
    assert_eq!((stats.entries, stats.backends.len()), (2, 1));
    assert_eq!((stats.backends[0].hits, stats.backends[0].model.as_deref()), (3, Some("m")));
    assert!(warnings.lock().unwrap().is_empty() && more.lock().unwrap().is_empty());
}

#[tokio::test]
async fn several_caches_have_the_file_open_at_once_and_none_loses_what_another_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = Vec::new();
    for process in 0..4 {
        let (cache, warnings) = open(folder.path());
        let of = cache.of(identity("m"));
        tasks.push(tokio::spawn(async move {
            for number in 0..200 {
                let prompt = format!("{process}/{number}");
                keep(&of, &prompt, 0, &prompt);
                assert_eq!(said(&of, &prompt, 0).await.as_deref(), Some(&*prompt));
            }
            cache.finish().await;
            assert_eq!(*warnings.lock().unwrap(), Vec::<String>::new());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (cache, _) = open(folder.path());
    let of = cache.of(identity("m"));
    for process in 0..4 {
        for number in [0, 99, 199] {
            let prompt = format!("{process}/{number}");
            assert_eq!(said(&of, &prompt, 0).await.as_deref(), Some(&*prompt));
        }
    }
    assert_eq!(stats(&file(folder.path())).unwrap().entries, 800);
}

#[tokio::test]
async fn a_file_that_is_no_cache_is_a_warning_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(file(folder.path()), "not a database, though long enough to look at. ".repeat(300))
        .unwrap();
    let (cache, warnings) = open(folder.path());
    let of = cache.of(identity("m"));
    keep(&of, "q", 0, "a");
    assert_eq!(said(&of, "q", 0).await, None);
    cache.finish().await;
    let warnings = warnings.lock().unwrap().clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("responses.redb") && warnings[0].contains("prune --all"));
    let error = stats(&file(folder.path())).unwrap_err().to_string();
    assert!(error.contains("prune --all"), "{error}");
    remove(&file(folder.path())).unwrap();
    assert_eq!(stats(&file(folder.path())).unwrap().entries, 0);
}

#[tokio::test]
async fn a_damaged_entry_is_asked_again_and_then_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = open(folder.path());
    let of = cache.of(identity("m"));
    let requests = [generate("q", 1)];
    let key = of.key(&requests, 0);
    cache.put(Put { key, label: Arc::clone(of.identity.label()), value: b"damaged".to_vec() });
    cache.finish().await;
    assert_eq!(said(&of, "q", 0).await, None);
    keep(&of, "q", 0, "sound");
    cache.finish().await;
    let (cache, _) = open(folder.path());
    assert_eq!(said(&cache.of(identity("m")), "q", 0).await.as_deref(), Some("sound"));
}

#[tokio::test]
async fn no_secret_gets_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = open(folder.path());
    let of = cache.of(identity("model sk-canary-1"));
    keep(&of, "q", 0, "your key is sk-canary-1");
    keep(&of, "r", 0, "I have none");
    cache.finish().await;
    assert_eq!(said(&of, "q", 0).await, None);
    assert_eq!(said(&of, "r", 0).await.as_deref(), Some("I have none"));
    let bytes = fs::read(file(folder.path())).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"sk-canary"));
}

#[tokio::test]
async fn pruning_takes_the_old_first_and_gives_the_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let table = table::Table::create(&path).unwrap();
    let label = Arc::new(Label { backend: "b".into(), plugin: "p".into(), model: None });
    let (hour, keys) = (3600, 0..64_u8);
    for number in keys {
        let value = entry::write(&says(&"x".repeat(20_000)), &Redactor::default()).unwrap();
        let put = Put { key: Key([number; 32]), label: Arc::clone(&label), value };
        let written =
            table.write([&put].into_iter(), &Default::default(), u64::from(number) * hour);
        assert!(written.is_ok());
    }
    // Another process has it open all the while.
    let old = Prune { before_s: Some(8 * hour), max_bytes: None };
    let pruned = prune(&path, &old).unwrap();
    assert_eq!((pruned.removed, pruned.entries), (8, 56));
    assert!(pruned.file_bytes <= pruned.file_bytes_before);
    let small = Prune { before_s: None, max_bytes: Some(700_000) };
    let pruned = prune(&path, &small).unwrap();
    assert!(pruned.file_bytes <= 700_000 && pruned.entries > 10, "{pruned:?}");
    let left = table.get([[63; 32], [8; 32]].into_iter()).unwrap_or_default();
    assert!(left[0].is_some() && left[1].is_none());
    assert_eq!(remove(&path).unwrap().removed, pruned.entries);
    assert_eq!(stats(&path).unwrap(), Stats { path, ..Stats::default() });
}
