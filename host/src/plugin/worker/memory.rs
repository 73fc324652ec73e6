//! Gives back what a worker's start alone has used. Pages of programs and libraries belong to their files, and are read
//! from there again when they are used again, but each that is mapped counts as the worker's memory, and the start of a
//! program maps many more than a worker needs.

#![allow(unsafe_code, reason = "to unmap pages is no matter of types")]

use std::fs;

use rustix::mm::{Advice, madvise};

/// Unmaps all pages of files that were only read. To be called while this process has one thread.
pub(super) fn give_back() {
    // Without it nothing is given back, which is no fault.
    let mappings = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for Mapping { start, bytes } in only_read(&mappings) {
        // SAFETY: the kernel lists the range as a mapping of a file that cannot be written to, and of which no page is
        // another than the file's, in memory or swapped out, as it would be if the dynamic linker had written to it: all
        // of its pages come back from the file as they were. There is no other thread that could have mapped something
        // else there since.
        let _ = unsafe {
            madvise(std::ptr::without_provenance_mut(start), bytes, Advice::LinuxDontNeed)
        };
    }
}

/// A range of addresses.
#[derive(Debug, PartialEq)]
struct Mapping {
    start: usize,
    bytes: usize,
}

/// The mappings of files, as the kernel tells them, of which no page is or can be another than the file's.
fn only_read(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    // Whether the last one found is the one that the line is about.
    let mut is_listed = false;
    for line in smaps.lines() {
        if let Some(mapping) = mapping(line) {
            is_listed = mapping.is_some();
            found.extend(mapping);
        } else if is_listed && is_own(line) {
            is_listed = false;
            let _ = found.pop();
        }
    }
    found
}

/// Whether the line tells of pages that are the process's own.
fn is_own(line: &str) -> bool {
    let told = line.split_once(':').filter(|(name, _)| matches!(*name, "Anonymous" | "Swap"));
    told.is_some_and(|(_, kib)| kib.trim() != "0 kB")
}

/// What the first line of a mapping says: none if the line is none, `Some(None)` for a mapping that is to be left alone.
fn mapping(line: &str) -> Option<Option<Mapping>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let is_read_only = matches!(words.next()?, "r--p" | "r-xp");
    let is_of_file = words.nth(2)? != "0";
    let bytes = end.checked_sub(start)?;
    Some((is_read_only && is_of_file).then_some(Mapping { start, bytes }))
}

fn hexadecimal(text: &str) -> Option<usize> {
    usize::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_a_file_and_was_never_written_is_given_back() {
        let smaps = "\
55d0c0000000-55d0c0002000 r--p 00000000 fe:00 131 /usr/bin/host
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0c0002000-55d0c0009000 r-xp 00002000 fe:00 131 /usr/bin/host
Anonymous:             0 kB
55d0c0009000-55d0c000a000 r--p 00009000 fe:00 131 /usr/bin/host
Anonymous:             4 kB
55d0c0010000-55d0c0011000 r--p 00009000 fe:00 131 /usr/bin/host
Anonymous:             0 kB
Swap:                  4 kB
SwapPss:               4 kB
55d0c000a000-55d0c000b000 rw-p 0000a000 fe:00 131 /usr/bin/host
Anonymous:             0 kB
7f0000000000-7f0000002000 r--p 00000000 00:00 0 
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
7f1000000000-7f1000001000 r--s 00000000 fe:00 9 /usr/lib/gconv.cache
Anonymous:             0 kB
";
        let expected = [
            Mapping { start: 0x55d0_c000_0000, bytes: 0x2000 },
            Mapping { start: 0x55d0_c000_2000, bytes: 0x7000 },
        ];
        assert_eq!(only_read(smaps), expected);
    }
}
