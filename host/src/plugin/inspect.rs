//! Reads a plugin file without running any of its code: is it a whole ELF library of this machine, and
//! what does its manifest say? A truncated file must be told here, because `dlopen` would die of it
//! (SIGBUS). It knows nothing of where files come from.

use std::collections::BTreeMap;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::{LittleEndian, ReadRef};
use plugin_api::abi::{
    ABI_MAJOR, ABI_MINOR, ENTRY_SYMBOL, MANIFEST_MAGIC, MANIFEST_SECTION, MANIFEST_VERSION,
};
use plugin_api::manifest::Manifest;
use thiserror::Error;

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!(
    "plugins are inspected and loaded on 64-bit little-endian Linux with glibc only; Mach-O and PE are not read yet"
);

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("plugins are supported on x86_64 and aarch64 only");

/// The format of a manifest's JSON.
const MANIFEST_FORMAT: u32 = 1;
/// Bytes of the manifest section before its JSON: magic, version, length.
const MANIFEST_HEADER: usize = 16;

/// What a plugin file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The JSON of the manifest as it stands in the file; `Entry.manifest` must be the same bytes.
    pub manifest_bytes: Vec<u8>,
}

/// Why a file is no plugin that this host can load.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Text, an archive, anything but ELF.
    #[error("not an ELF file")]
    NotElf,
    /// 32 bits or big endian.
    #[error("not a 64-bit little-endian ELF file")]
    WrongClass,
    /// Built for another processor.
    #[error("built for another machine ({}; this host runs on {})", machine_name(*found), machine_name(MACHINE))]
    OtherMachine {
        /// `e_machine` of the file.
        found: elf::Machine,
    },
    /// An executable or an object file.
    #[error("an ELF file, but not a shared library")]
    NotALibrary,
    /// A part of the file is missing.
    #[error("truncated or damaged: {part} ends at byte {end}, the file at {len}")]
    Truncated {
        /// What lies outside of the file.
        part: &'static str,
        /// Where it should end.
        end: u64,
        /// Size of the file.
        len: u64,
    },
    /// Headers that contradict each other.
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    /// A library of something else.
    #[error("not a plugin of this host: no {MANIFEST_SECTION} section")]
    NoManifest,
    /// A section that is there and cannot be read.
    #[error("damaged manifest: {0}")]
    Manifest(String),
    /// A record of another kind.
    #[error("the manifest's format is {0}; this host reads {MANIFEST_FORMAT}{hint}", hint = format_hint(*.0))]
    Format(u32),
    /// An id that no run file could name.
    #[error("the manifest's id {0:?} is not made of lower-case letters, digits, `-` and `_`")]
    Id(String),
    /// The plugin needs another ABI.
    #[error("needs ABI {major}.{minor}; this host has {ABI_MAJOR}.{ABI_MINOR}{}", abi_hint(*major, *minor))]
    Abi {
        /// What the plugin needs.
        major: u32,
        /// Its floor.
        minor: u32,
    },
    /// The entry point is missing.
    #[error("does not export the symbol {ENTRY_SYMBOL}")]
    NoEntry,
    /// The file could not be read to its end.
    #[error("cannot read the file: {0}")]
    Unreadable(String),
}

/// Inspects a whole file. Pure.
///
/// # Errors
/// Says why it is no plugin that this host can load.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Refusal> {
    inspect_data(bytes)
}

/// The same for a file of which only the headers and the manifest are read.
pub(crate) fn inspect_data<'data, R: ReadRef<'data>>(data: R) -> Result<Inspection, Refusal> {
    let file = Library::parse(data)?;
    let manifest_bytes = frame(file.manifest_section(data)?)?.to_vec();
    let manifest = parse_manifest(&manifest_bytes)?;
    check_manifest(&manifest)?;
    if !file.exports(data, ENTRY_SYMBOL)? {
        return Err(Refusal::NoEntry);
    }
    Ok(Inspection { manifest, manifest_bytes })
}

type Header = FileHeader64<LittleEndian>;

/// An ELF library whose every part lies inside the file.
struct Library<'data, R: ReadRef<'data>> {
    sections: SectionTable<'data, Header, R>,
}

impl<'data, R: ReadRef<'data>> Library<'data, R> {
    fn parse(data: R) -> Result<Self, Refusal> {
        let len = data.len().map_err(|()| Refusal::Unreadable("its size is unknown".into()))?;
        if len == 0 {
            return Err(Refusal::Empty);
        }
        let ident = data
            .read_bytes_at(0, len.min(6))
            .map_err(|()| Refusal::Unreadable("its first bytes".into()))?;
        match ident {
            [0x7f, b'E', b'L', b'F', class, encoding]
                if (*class, *encoding) == (elf::ELFCLASS64.0, elf::ELFDATA2LSB.0) => {}
            [0x7f, b'E', b'L', b'F', _, _] => return Err(Refusal::WrongClass),
            _ => return Err(Refusal::NotElf),
        }
        let header_len = size_of::<Header>() as u64;
        let header = Header::parse(data).map_err(|_| Refusal::Truncated {
            part: "the ELF header",
            end: header_len,
            len,
        })?;
        let endian = LittleEndian;
        if header.e_machine(endian) != MACHINE {
            return Err(Refusal::OtherMachine { found: header.e_machine(endian) });
        }
        if header.e_type(endian) != elf::ET_DYN {
            return Err(Refusal::NotALibrary);
        }
        let inside = |part: &'static str, start: u64, size: u64| match start.checked_add(size) {
            Some(end) if end <= len => Ok(()),
            end => Err(Refusal::Truncated { part, end: end.unwrap_or(u64::MAX), len }),
        };
        let table = |count: u16, entry: u16| u64::from(count) * u64::from(entry);
        inside(
            "the program header table",
            header.e_phoff(endian),
            table(header.e_phnum(endian), header.e_phentsize(endian)),
        )?;
        inside(
            "the section header table",
            header.e_shoff(endian),
            table(header.e_shnum(endian), header.e_shentsize(endian)),
        )?;
        let segments = header.program_headers(endian, data).map_err(damaged)?;
        for segment in segments {
            inside("a segment", segment.p_offset(endian), segment.p_filesz(endian))?;
        }
        if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) {
            return Err(Refusal::NotALibrary);
        }
        let sections = header.sections(endian, data).map_err(damaged)?;
        for section in sections.iter().filter(|section| section.sh_type(endian) != elf::SHT_NOBITS)
        {
            inside("a section", section.sh_offset(endian), section.sh_size(endian))?;
        }
        Ok(Self { sections })
    }

    fn manifest_section(&self, data: R) -> Result<&'data [u8], Refusal> {
        let (_, section) = self
            .sections
            .section_by_name(LittleEndian, MANIFEST_SECTION.as_bytes())
            .ok_or(Refusal::NoManifest)?;
        section.data(LittleEndian, data).map_err(damaged)
    }

    fn exports(&self, data: R, name: &str) -> Result<bool, Refusal> {
        let symbols =
            self.sections.symbols(LittleEndian, data, elf::SHT_DYNSYM).map_err(damaged)?;
        Ok(symbols.iter().any(|symbol| {
            let visible =
                matches!(symbol.st_bind(), elf::STB_GLOBAL | elf::STB_WEAK | elf::STB_GNU_UNIQUE);
            visible
                && !symbol.is_undefined(LittleEndian)
                && symbols
                    .symbol_name(LittleEndian, symbol)
                    .is_ok_and(|found| found == name.as_bytes())
        }))
    }
}

/// The JSON inside the section: magic, `u32 LE` version, `u32 LE` length, JSON. The linker may pad after it.
fn frame(section: &[u8]) -> Result<&[u8], Refusal> {
    let damaged = |what: &str| Refusal::Manifest(what.into());
    let rest = section
        .strip_prefix(&MANIFEST_MAGIC)
        .ok_or_else(|| damaged("it does not begin with HOSTPLUG"))?;
    let number = |at: usize| {
        rest.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    };
    let (Some(version), Some(length)) = (number(0), number(4)) else {
        return Err(damaged("it ends within its header"));
    };
    if version != MANIFEST_VERSION {
        return Err(Refusal::Manifest(format!(
            "its format is {version}, this host reads {MANIFEST_VERSION}"
        )));
    }
    let body = &section[MANIFEST_HEADER..];
    usize::try_from(length).ok().and_then(|length| body.get(..length)).ok_or_else(|| {
        Refusal::Manifest(format!("it says that it has {length} bytes, and has {}", body.len()))
    })
}

fn parse_manifest(json: &[u8]) -> Result<Manifest, Refusal> {
    let damaged = |error: serde_json::Error| Refusal::Manifest(error.to_string());
    serde_json::from_slice(json).map_err(damaged)
}

/// What holds for every manifest, wherever it stands.
///
/// # Errors
/// Another format, an id that no run file could name, a slot that is declared twice, another ABI.
pub(super) fn check_manifest(manifest: &Manifest) -> Result<(), Refusal> {
    if manifest.format != MANIFEST_FORMAT {
        return Err(Refusal::Format(manifest.format));
    }
    let id = &manifest.plugin.id;
    let legal = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    if id.is_empty() || !id.bytes().all(legal) {
        return Err(Refusal::Id(id.clone()));
    }
    let mut slots = BTreeMap::new();
    for secret in &manifest.plugin.secrets {
        if slots.insert(&secret.slot, ()).is_some() {
            return Err(Refusal::Manifest(format!(
                "the secret slot {:?} is declared twice",
                secret.slot
            )));
        }
    }
    check_abi(manifest.abi.major, manifest.abi.minor, ABI_MAJOR, ABI_MINOR)
}

/// The majors must agree; the plugin's minor is a floor.
fn check_abi(major: u32, minor: u32, host_major: u32, host_minor: u32) -> Result<(), Refusal> {
    let fits = major == host_major && minor <= host_minor;
    if fits { Ok(()) } else { Err(Refusal::Abi { major, minor }) }
}

fn format_hint(format: u32) -> &'static str {
    if format > MANIFEST_FORMAT { ": it needs a newer host" } else { "" }
}

fn abi_hint(major: u32, minor: u32) -> &'static str {
    if (major, minor) > (ABI_MAJOR, ABI_MINOR) {
        "; it needs a newer host"
    } else {
        "; build it again with this host's plugin-api"
    }
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_X86_64 => "x86_64".into(),
        elf::EM_AARCH64 => "aarch64".into(),
        elf::EM_RISCV => "riscv".into(),
        elf::EM_386 => "x86".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_PPC64 => "ppc64".into(),
        elf::EM_S390 => "s390x".into(),
        other => format!("machine {}", other.0),
    }
}

fn damaged(error: object::read::Error) -> Refusal {
    Refusal::Damaged(error.to_string())
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
pub(crate) mod tests;
