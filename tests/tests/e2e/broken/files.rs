//! Files in a folder of plugins that are none, or are not whole.

use std::{fs, ops::Range, os::unix::fs::symlink, path::Path};

use host_tests::{built, sandbox::Outcome};
use serde_json::Value;

use super::faulty::{ECHO, ONCE, good, good_goes_on, has_line, renamed, sandbox};

fn is_passed_over(outcome: &Outcome, file: &Path, reason: &str) {
    has_line(outcome, &format!("warning: not used: {}: {reason}", file.display()));
}

#[test]
fn what_is_no_plugin_is_passed_over_in_so_many_words() {
    let sandbox = sandbox();
    sandbox.write("plugins/libtext.so", "I am a text\n");
    sandbox.write("plugins/libempty.so", "");
    sandbox.write("elsewhere/libhostile.so", "");
    let path = |name: &str| sandbox.path(&format!("plugins/{name}"));
    fs::create_dir(path("libfolder.so")).unwrap();
    symlink("libnowhere.so", path("libdangling.so")).unwrap();
    symlink("libloop.so", path("libloop.so")).unwrap();
    symlink("../elsewhere/libhostile.so", path("libout.so")).unwrap();
    let other = sandbox.write("other.c", "int other(void) { return 1; }\n");
    let elsewhere = fs::canonicalize(sandbox.path("elsewhere/libhostile.so")).unwrap();
    let leads_out = format!("a link that leads out of its folder, to {}", elsewhere.display());
    let mut expected = vec![
        ("libtext.so", "not an ELF file"),
        ("libempty.so", "the file is empty"),
        ("libfolder.so", "not a regular file"),
        ("libdangling.so", "cannot read it: No such file or directory (os error 2)"),
        ("libloop.so", "cannot read it: Too many levels of symbolic links (os error 40)"),
        ("libout.so", &leads_out),
    ];
    match built::c_library(&other, &path("libother.so")) {
        Some(()) => {
            expected.push(("libother.so", "not a plugin of this host: no .hostplugin section"))
        }
        None => host_tests::skip::skipped("in part: there is no `cc`"),
    }
    let outcome = sandbox.run(&format!("{}{ECHO}", good())).exits(0);
    for (file, reason) in expected {
        is_passed_over(&outcome, &path(file), reason);
    }
    good_goes_on(&outcome);
}

#[test]
fn a_library_that_is_cut_off_is_passed_over_before_it_is_mapped() {
    let sandbox = sandbox();
    let whole = renamed("cut-off");
    let expected: Vec<(String, String)> = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99]
        .into_iter()
        .map(|percent| {
            let (length, table) = (whole.len() * percent / 100, section_table(&whole));
            sandbox.write(&format!("plugins/libcut{percent}.so"), &whole[..length]);
            let part = "the section header table";
            let reason =
                format!("truncated or damaged: {part} ends at byte {table}, the file at {length}");
            (format!("plugins/libcut{percent}.so"), reason)
        })
        .collect();
    let outcome = sandbox.run(&format!("{}{ECHO}", good())).exits(0);
    for (file, reason) in expected {
        is_passed_over(&outcome, &sandbox.path(&file), &reason);
    }
    good_goes_on(&outcome);
}

/// A number of so many bytes in an ELF file.
fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Where the table of an ELF file's sections ends.
fn section_table(bytes: &[u8]) -> usize {
    number(bytes, 0x28, 8) + number(bytes, 0x3a, 2) * number(bytes, 0x3c, 2)
}

/// Where the parts of an ELF file that are mapped lie, and whether they are code.
fn segments(bytes: &[u8]) -> Vec<(Range<usize>, bool)> {
    let (table, size) = (number(bytes, 0x20, 8), number(bytes, 0x36, 2));
    let headers = (0..number(bytes, 0x38, 2)).map(|index| table + index * size);
    let mapped = headers.filter(|at| number(bytes, *at, 4) == 1);
    let place = |at| {
        let begin = number(bytes, at + 8, 8);
        (begin..begin + number(bytes, at + 32, 8), number(bytes, at + 4, 4) & 1 == 1)
    };
    mapped.map(place).collect()
}

/// The same numbers in every run (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn within(&mut self, range: &Range<usize>) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + (self.0 >> 16) as usize % range.len()
    }
}

/// Bytes of each library that are spoilt.
const SPOILT: usize = 2048;

/// Spoils a part of what is mapped (one block of it), or bytes all over the code.
fn spoil(bytes: &mut [u8], block: bool, random: &mut Random) {
    let segments = segments(bytes);
    let mapped = 0..segments.iter().map(|(place, _)| place.end).max().unwrap() - SPOILT;
    let code = segments.into_iter().find(|(_, is_code)| *is_code).unwrap().0;
    let begin = random.within(&mapped);
    for offset in 0..SPOILT {
        let at = if block { begin + offset } else { random.within(&code) };
        bytes[at] = random.within(&(0..256)) as u8;
    }
}

#[test]
fn forty_libraries_with_two_kilobytes_of_nonsense_harm_nobody_but_themselves() {
    let sandbox = sandbox();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let ids: Vec<String> = (0..40).map(|index| format!("spoil{index:02}")).collect();
    for (index, id) in ids.iter().enumerate() {
        let mut bytes = renamed(id);
        spoil(&mut bytes, index % 2 == 0, &mut random);
        sandbox.write(&format!("plugins/lib{id}.so"), bytes);
    }
    let list = sandbox.host(["plugin", "list", "--json", "--plugin-dir", "plugins"]);
    let list = sandbox.finish(list).exits(0);
    let records = list.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<String> = records
        .filter_map(|record| record["manifest"]["plugin"]["id"].as_str().map(str::to_owned))
        .filter(|id| ids.contains(id))
        .collect();
    assert!(!found.is_empty(), "nothing is left to be loaded");

    let echoes = |id: &String| format!("[[backend]]\nplugin = \"{id}\"\nconfig.mode = \"echo\"\n");
    let backends: String = found.iter().map(echoes).collect();
    let outcome = sandbox.run(&format!("{ONCE}{backends}{}{ECHO}", good()));
    assert!(matches!(outcome.code, Some(0 | 5)), "{:?}\n{}", outcome.code, outcome.stderr);
    let left = good_goes_on(&outcome);
    for id in &ids {
        let lines = left.journal.iter().filter(|line| line["backend"] == id.as_str()).count();
        let refused = if found.contains(id) {
            format!("`{id}`")
        } else {
            format!(
                "warning: not used: {}: ",
                sandbox.path(&format!("plugins/lib{id}.so")).display()
            )
        };
        // Asked like any other, or told not to be used: nothing between.
        let is_told = outcome.stderr.lines().any(|line| {
            line.contains(&refused) && (!found.contains(id) || line.ends_with("go on without it"))
        });
        assert!(
            lines == 2 && found.contains(id) || lines == 0 && is_told,
            "{id}:\n{}",
            outcome.stderr
        );
    }
}

#[test]
fn one_file_under_more_names_is_one_plugin() {
    let sandbox = sandbox();
    let path = |name: &str| sandbox.path(&format!("plugins/{name}"));
    fs::hard_link(path("libhostile.so"), path("libhard.so")).unwrap();
    symlink("libhostile.so", path("libsoft.so")).unwrap();
    let outcome = sandbox.run(&format!("{}{ECHO}", good())).exits(0);
    assert!(!outcome.stderr.contains("not used"), "{}", outcome.stderr);
    let left = good_goes_on(&outcome);
    assert_eq!(left.manifest["plugins"].as_array().unwrap().len(), 1);
}

#[test]
fn of_a_plugin_and_its_copy_neither_is_used_and_the_others_go_on() {
    let sandbox = sandbox();
    let (one, two) = ("plugins/libfirst.so", "plugins/libsecond.so");
    for name in [one, two] {
        sandbox.write(name, renamed("doubled"));
    }
    let (one, two) = (sandbox.path(one), sandbox.path(two));
    let outcome = sandbox.run(&format!("{}{ECHO}", good())).exits(0);
    for (this, other) in [(&one, &two), (&two, &one)] {
        let reason =
            format!("has the id `doubled`, as {} has; remove one of them", other.display());
        is_passed_over(&outcome, this, &reason);
    }
    good_goes_on(&outcome);
}
