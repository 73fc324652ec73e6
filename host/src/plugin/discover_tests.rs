//! Folders with good, bad, linked and doubled files in them.

use std::os::unix::fs::{PermissionsExt, symlink};

use plugin_api::abi::ENTRY_SYMBOL;

use super::super::inspect::tests::{build, manifest_json, section};
use super::*;

fn plugin(dir: &Path, name: &str, id: &str) -> Option<PathBuf> {
    let path = build(dir, name, &section(&manifest_json(id)), ENTRY_SYMBOL)?;
    // Whatever the umask of the test.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Some(path)
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn directory(path: &Path, provenance: Provenance) -> SearchDirectory {
    SearchDirectory { path: path.into(), provenance }
}

/// Found ids, refusals and second names, one a line, in order.
fn summary(discovery: &Discovery) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let found =
        discovery.plugins.iter().map(|plugin| format!("{} {:?}", plugin.id(), plugin.provenance));
    let refused = discovery
        .refused
        .iter()
        .map(|refused| format!("{}: {}", name(&refused.path), refused.reason));
    let twice = discovery
        .seen_twice
        .iter()
        .map(|twice| format!("{} is {}", name(&twice.path), name(&twice.first)));
    found.chain(refused).chain(twice).collect()
}

#[test]
fn bad_files_are_refused_with_a_reason_and_good_ones_are_found() {
    let (dir, outside) = (folder(), folder());
    let Some(good) = plugin(dir.path(), "a", "alpha") else { return };
    let elsewhere = plugin(outside.path(), "e", "else").unwrap();
    std::fs::write(dir.path().join("b.so"), "text").unwrap();
    std::fs::write(dir.path().join("readme.txt"), "text").unwrap();
    std::fs::create_dir(dir.path().join("c.so")).unwrap();
    std::fs::hard_link(&good, dir.path().join("d.so")).unwrap();
    symlink("a.so", dir.path().join("e.so")).unwrap();
    symlink(&elsewhere, dir.path().join("f.so")).unwrap();
    let open = plugin(dir.path(), "g", "open").unwrap();
    std::fs::set_permissions(open, PermissionsExt::from_mode(0o757)).unwrap();
    symlink("nowhere", dir.path().join("h.so")).unwrap();
    let big = File::create(dir.path().join("i.so")).unwrap();
    big.set_len(MAX_PLUGIN_BYTES + 1).unwrap();
    big.set_permissions(PermissionsExt::from_mode(0o644)).unwrap();

    let found = discover(&[directory(dir.path(), Provenance::Directory)]);
    let expected = [
        "alpha Directory".to_owned(),
        "b.so: not an ELF file".into(),
        "c.so: not a regular file".into(),
        format!(
            "f.so: a link that leads out of its folder, to {}",
            std::fs::canonicalize(elsewhere).unwrap().display()
        ),
        "g.so: it is writable by everybody; `chmod o-w` it".into(),
        "h.so: cannot read it: No such file or directory (os error 2)".into(),
        format!(
            "i.so: {} bytes; the most that a plugin may have is {MAX_PLUGIN_BYTES}",
            MAX_PLUGIN_BYTES + 1
        ),
        "d.so is a.so".into(),
        "e.so is a.so".into(),
    ];
    assert_eq!(summary(&found), expected);
}

#[test]
fn two_files_with_one_id_are_both_refused() {
    let (one, two) = (folder(), folder());
    let Some(first) = plugin(one.path(), "a", "same") else { return };
    let second = plugin(two.path(), "b", "same").unwrap();
    let found = discover(&[
        directory(one.path(), Provenance::Directory),
        directory(two.path(), Provenance::Installed),
    ]);
    let expected = [
        format!("a.so: has the id `same`, as {} has; remove one of them", second.display()),
        format!("b.so: has the id `same`, as {} has; remove one of them", first.display()),
    ];
    assert_eq!(summary(&found), expected);
}

#[test]
fn beside_the_executable_other_libraries_are_passed_over_silently() {
    let dir = folder();
    // What lies there is not installed for that alone: the host knows its own plugins by name.
    let Some(_) = plugin(dir.path(), "a", "alpha") else { return };
    let Some(_) = plugin(dir.path(), "b", "tgi") else { return };
    build(dir.path(), "other", &[], "something").unwrap();
    std::fs::write(dir.path().join("script.so"), "text").unwrap();
    let found = discover(&[directory(dir.path(), Provenance::Installed)]);
    assert_eq!(summary(&found), ["alpha Directory", "tgi Installed"]);
}

#[test]
fn a_folder_that_everybody_may_write_is_refused() {
    let dir = folder();
    let Some(_) = plugin(dir.path(), "a", "alpha") else { return };
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    for provenance in [Provenance::Directory, Provenance::Installed] {
        let found = discover(&[directory(dir.path(), provenance)]);
        assert!(found.plugins.is_empty());
        assert!(
            found.refused[0]
                .reason
                .to_string()
                .ends_with("is writable by everybody; `chmod o-w` it")
        );
    }
}

#[test]
fn the_bytes_that_are_loaded_are_those_that_were_inspected() {
    let dir = folder();
    let Some(path) = plugin(dir.path(), "a", "alpha") else { return };
    let candidate = discover(&[directory(dir.path(), Provenance::Directory)]).plugins.remove(0);
    let read = candidate.read_verified().unwrap();
    assert_eq!(read.bytes, std::fs::read(&path).unwrap());
    assert_eq!(read.sha256, Sha256::of(&read.bytes));

    plugin(dir.path(), "a", "beta").unwrap();
    assert_eq!(
        candidate.read_verified().unwrap_err().to_string(),
        "changed since it was discovered"
    );
    std::fs::write(&path, &read.bytes[..1000]).unwrap();
    assert!(matches!(
        candidate.read_verified(),
        Err(Refusal::Inspect(inspect::Refusal::Truncated { .. }))
    ));
}

#[test]
fn a_named_folder_must_exist() {
    let dir = folder();
    let missing = dir.path().join("missing");
    let error = search_path(std::slice::from_ref(&missing), None, None).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot search {} (from --plugin-dir): No such file or directory (os error 2)",
            missing.display()
        )
    );
    let other = folder();
    let list = std::env::join_paths([other.path(), dir.path()]).unwrap();
    let found =
        search_path(&[other.path().into()], Some(&list), Some(&dir.path().join("host"))).unwrap();
    let provenances: Vec<_> = found.iter().map(|directory| directory.provenance).collect();
    assert_eq!(
        provenances,
        [
            Provenance::Directory,
            Provenance::Directory,
            Provenance::Installed,
            Provenance::Installed
        ]
    );
}
