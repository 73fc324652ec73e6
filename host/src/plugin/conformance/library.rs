//! What a library's file tells of how it will load elsewhere: what it exports, which other libraries it needs, and how
//! new a system. No code of it runs.

use std::{fmt, str::FromStr};

use object::{
    LittleEndian,
    elf::{self, FileHeader64},
    read::elf::{Dyn, FileHeader, Sym},
};
use plugin_api::abi::{ENTRY_SYMBOL, LAYOUT_SYMBOL};

use super::finding::Finding;

/// Libraries that are on every system that the host runs on.
const EVERYWHERE: [&str; 9] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
];
/// The C library of Debian 12, the oldest system that the host itself is tested on.
const OLDEST: Glibc = Glibc { major: 2, minor: 36 };

/// A version of the GNU C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc {
    major: u32,
    minor: u32,
}

impl FromStr for Glibc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('.').and_then(|(major, minor)| {
            // A third number is of no matter: symbols are versioned by two.
            let minor = minor.split_once('.').map_or(minor, |(minor, _)| minor);
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is no version of glibc; expected 2.31, say"))
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Looks at a whole library. `most` is the glibc that it may need at most, if its author says so.
pub fn look_at_library(bytes: &[u8], most: Option<Glibc>) -> Vec<Finding> {
    match facts(bytes) {
        Ok(facts) => vec![exports(&facts), needs(&facts), glibc(&facts, most)],
        Err(error) => vec![Finding::failed("exports", format!("damaged ELF file: {error}"))],
    }
}

/// What an ELF file says.
#[derive(Debug, Default)]
struct Facts {
    exported: Vec<String>,
    needed: Vec<String>,
    /// The newest glibc that a symbol is from, with its name.
    newest: Option<(Glibc, String)>,
}

fn facts(data: &[u8]) -> Result<Facts, object::read::Error> {
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(data)?;
    let sections = header.sections(endian, data)?;
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    let versions = sections.versions(endian, data)?;
    let mut facts = Facts::default();
    for (index, symbol) in symbols.enumerate() {
        let name = String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned();
        if name.is_empty() {
            continue;
        }
        if !symbol.is_undefined(endian) {
            if matches!(symbol.st_bind(), elf::STB_GLOBAL | elf::STB_WEAK) {
                facts.exported.push(name);
            }
            continue;
        }
        // A weak one may be missing.
        let Some(versions) = versions.as_ref().filter(|_| symbol.st_bind() != elf::STB_WEAK) else {
            continue;
        };
        let version = versions.version(versions.version_index(endian, index).index())?;
        let version = version.map(|version| String::from_utf8_lossy(version.name()));
        let version = version.as_deref().and_then(|name| name.strip_prefix("GLIBC_"));
        if let Some(version) = version.and_then(|version| version.parse::<Glibc>().ok())
            && facts.newest.as_ref().is_none_or(|(newest, _)| version > *newest)
        {
            facts.newest = Some((version, name));
        }
    }
    if let Some((dynamic, strings)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        for entry in dynamic.iter().take_while(|entry| entry.tag(endian) != elf::DT_NULL) {
            if entry.tag(endian) == elf::DT_NEEDED {
                let at = u32::try_from(entry.val(endian)).unwrap_or(u32::MAX);
                let name = strings.get(at).unwrap_or_default();
                facts.needed.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(facts)
}

fn exports(facts: &Facts) -> Finding {
    let own = |name: &str| name == ENTRY_SYMBOL || name == LAYOUT_SYMBOL;
    let others: Vec<&str> =
        facts.exported.iter().map(String::as_str).filter(|name| !own(name)).collect();
    match others.as_slice() {
        [] => Finding::passed("exports", format!("`{ENTRY_SYMBOL}` and nothing else")),
        [first, ..] => Finding::warned(
            "exports",
            format!(
                "{} symbols beside `{ENTRY_SYMBOL}`, `{first}` for one; a library that hides them \
                 (-fvisibility=hidden, a version script) cannot be mistaken for another one's",
                others.len()
            ),
        ),
    }
}

fn needs(facts: &Facts) -> Finding {
    let beyond: Vec<&str> =
        facts.needed.iter().map(String::as_str).filter(|name| !EVERYWHERE.contains(name)).collect();
    if beyond.is_empty() {
        return Finding::passed("libraries", "no other than those of every system");
    }
    Finding::warned(
        "libraries",
        format!("needs {}, which its user must have, too", beyond.join(", ")),
    )
}

fn glibc(facts: &Facts, most: Option<Glibc>) -> Finding {
    let Some((newest, symbol)) = &facts.newest else {
        return Finding::passed("glibc", "none of any version");
    };
    let detail = format!("needs glibc {newest} (for `{symbol}`)");
    match most {
        Some(most) if *newest > most => Finding::failed(
            "glibc",
            format!("{detail}, and {most} was to be the most; build it on an older system"),
        ),
        Some(most) => Finding::passed("glibc", format!("{detail}; {most} was to be the most")),
        None if *newest > OLDEST => Finding::warned(
            "glibc",
            format!(
                "{detail}: on a system with {OLDEST} it does not load; build it on an older one"
            ),
        ),
        None => Finding::passed("glibc", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::finding::Verdict::{Failed, Passed, Warned},
        *,
    };

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| text.parse::<Glibc>().unwrap();
        assert!(version("2.9") < version("2.34") && version("2.2.5") < version("2.3"));
        assert!("2".parse::<Glibc>().is_err() && "two.one".parse::<Glibc>().is_err());
    }

    #[test]
    fn what_others_may_lack_is_told() {
        let facts = |exported: &[&str], needed: &[&str], newest: &str| Facts {
            exported: exported.iter().map(ToString::to_string).collect(),
            needed: needed.iter().map(ToString::to_string).collect(),
            newest: newest.parse().ok().map(|version| (version, "f".to_owned())),
        };
        let good = facts(&[ENTRY_SYMBOL, LAYOUT_SYMBOL], &["libc.so.6"], "2.34");
        let bad = facts(&[ENTRY_SYMBOL, "helper"], &["libssl.so.3"], "2.39");
        for (finding, verdict) in [
            (exports(&good), Passed),
            (needs(&good), Passed),
            (glibc(&good, None), Passed),
            (glibc(&good, "2.31".parse().ok()), Failed),
            (exports(&bad), Warned),
            (needs(&bad), Warned),
            (glibc(&bad, None), Warned),
            (glibc(&bad, "2.41".parse().ok()), Passed),
        ] {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }
}
