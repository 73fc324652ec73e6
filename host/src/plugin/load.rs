//! Opens plugin libraries and calls their functions: the one place of the host that trusts foreign code.
//!
//! By the time a library gets here its bytes have been inspected without running any of it. They are
//! loaded from a sealed memfd, so that what runs is what was inspected, and never unloaded: a library may
//! have threads and thread-local destructors that outlive any use of it.

#![allow(unsafe_code, reason = "calling foreign code is what this module is for")]

use std::{
    ffi::c_void,
    fs::File,
    io::{self, Write},
    mem::offset_of,
    os::fd::{AsRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    ptr,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use plugin_api::{
    Error, ErrorKind,
    abi::{
        self, Buf, Bytes, ENTRY_SYMBOL, LAYOUT_SYMBOL, MAGIC, MessageRef, STATUS_FAILED, STATUS_OK,
        STATUS_PANICKED, layout,
    },
    manifest::{AbiFloor, Manifest},
};
use rustix::{
    fs::{MemfdFlags, SealFlags},
    io::Errno,
};

use super::{action::Receive, host_table, lock::command::command};

/// Why a library cannot be used, or a backend of it not opened.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The private copy could not be made.
    #[error("{path}: cannot make a private copy to load: {source}")]
    Copy {
        /// The plugin's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The dynamic linker refuses it.
    #[error("{path}: cannot be loaded: {message}")]
    Open {
        /// The plugin's file.
        path: PathBuf,
        /// What the dynamic linker says.
        message: String,
    },
    /// The entry is not one of this contract.
    #[error("{path}: {message}")]
    Entry {
        /// The plugin's file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The leaf types are laid out differently.
    #[error(
        "{path}: built against other leaf types than this host's: {message}; rebuild the plugin with this host's plugin-api"
    )]
    Layout {
        /// The plugin's file.
        path: PathBuf,
        /// What differs.
        message: String,
    },
    /// A script's files cannot be copied.
    #[error("{path}: no private copy of its files can be made in {}: {source}; set TMPDIR to another folder", std::env::temp_dir().display())]
    CopyScript {
        /// Its description.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A worker could not load it, and said why.
    #[error("{message}")]
    InWorker {
        /// Why, with the path.
        message: String,
    },
    /// There is no layout to compare.
    #[error(
        "{path}: carries no layout check, so a mis-built library could not be told; if you trust it, set allow_unchecked_layout = true in its [[backend]], or grant it: `{command}`"
    )]
    NoLayout {
        /// What grants it.
        command: String,
        /// The plugin's file.
        path: PathBuf,
    },
}

/// A loaded library: its functions, for the rest of the process.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    functions: Functions,
}

/// The functions of a plugin that this host calls, out of a table that may be shorter or longer than the
/// one it was built with.
#[derive(Clone, Copy, Debug)]
struct Functions {
    open: unsafe extern "C" fn(
        MessageRef,
        *const abi::Host,
        u64,
        *mut *mut abi::Backend,
        *mut Buf,
    ) -> i32,
    close: unsafe extern "C" fn(*mut abi::Backend),
    begin: unsafe extern "C" fn(*mut abi::Backend, u64, *mut *mut abi::Session, *mut Buf) -> i32,
    step: unsafe extern "C" fn(*mut abi::Session, MessageRef, *const abi::Sink) -> i32,
    end: unsafe extern "C" fn(*mut abi::Session),
}

/// What an entry of ABI 1.0 is long, in bytes.
const ENTRY_BYTES: usize = offset_of!(abi::Entry, plugin) + size_of::<usize>();
/// The functions of a plugin that are called, and where its table has them.
const REQUIRED: [(&str, usize); 5] = [
    ("open", offset_of!(abi::Plugin, open)),
    ("close", offset_of!(abi::Plugin, close)),
    ("begin", offset_of!(abi::Plugin, begin)),
    ("step", offset_of!(abi::Plugin, step)),
    ("end", offset_of!(abi::Plugin, end)),
];
/// What a plugin's table of ABI 1.0 is long, in bytes.
const PLUGIN_BYTES: usize = offset_of!(abi::Plugin, extension) + size_of::<usize>();

impl Loaded {
    /// Loads a library from the file that [`sealed`] made of its bytes, which were read from `path` and inspected.
    ///
    /// `manifest` is the JSON that the inspection found, and `floor` the ABI in it, which the inspection has
    /// accepted; the entry must say the same.
    ///
    /// # Errors
    /// See [`LoadError`]. Code of the library may have run by then (its initialisers).
    pub fn open(
        path: &Path,
        copy: OwnedFd,
        manifest: &[u8],
        floor: AbiFloor,
        allow_unchecked_layout: bool,
    ) -> Result<Self, LoadError> {
        let entry_error =
            |message: &str| LoadError::Entry { path: path.to_owned(), message: message.to_owned() };
        let address = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let open_error = |error: &libloading::Error| LoadError::Open {
            path: path.to_owned(),
            message: under_its_name(&describe(error), &address, path),
        };
        // SAFETY: loading runs the library's initialisers. The caller has inspected these very bytes, and
        // the seals keep them as they were; beyond that the user trusts the plugin.
        let library = unsafe { Library::open(Some(&address), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| open_error(&error))?;
        // SAFETY: a symbol of this name is a static `Entry` by contract; its first field is checked before
        // any other is read, and the library is never unloaded.
        let entry = unsafe { library.get::<*const abi::Entry>(ENTRY_SYMBOL.as_bytes()) }
            .map_err(|error| open_error(&error))?;
        let entry = *entry;
        // SAFETY: likewise for the layout, which is read only through `abi_stable`'s own header check.
        let header = unsafe { library.get(LAYOUT_SYMBOL.as_bytes()) }.ok().map(|symbol| *symbol);
        std::mem::forget(library);
        // The linker knows a library by its name, which is the number of this descriptor: were it closed, the
        // next plugin's copy would get the same number, and the linker would answer with this library.
        std::mem::forget(copy);

        // SAFETY: `entry` points at a static of at least the eight bytes of its magic number.
        let magic = unsafe { ptr::addr_of!((*entry).magic).read_unaligned() };
        if magic != MAGIC {
            return Err(entry_error(
                "its entry does not begin with the magic number of this contract",
            ));
        }
        // SAFETY: the magic number says that this is an `Entry`. The fields of ABI 1.0 come first and never
        // change; an older or newer table may be shorter or longer, so no reference to the whole is made.
        let (major, minor, size) =
            unsafe { ((*entry).abi_major, (*entry).abi_minor, (*entry).size) };
        if size < ENTRY_BYTES {
            return Err(entry_error("its entry is shorter than that of ABI 1.0"));
        }
        if (AbiFloor { major, minor }) != floor {
            return Err(entry_error("its entry states another ABI than its manifest"));
        }
        // SAFETY: `size` covers the field, and the manifest is a static of the library.
        if unsafe { (*entry).manifest.as_slice() } != manifest {
            return Err(entry_error("its entry names another manifest than its file"));
        }
        match header {
            // SAFETY: the symbol is a static layout of a library that is never unloaded.
            Some(header) => unsafe { layout::check(header) }
                .map_err(|message| LoadError::Layout { path: path.to_owned(), message })?,
            None if allow_unchecked_layout => {}
            None => {
                let command = granting(path, manifest);
                return Err(LoadError::NoLayout { command, path: path.to_owned() });
            }
        }
        // SAFETY: the entry was checked; `plugin` only returns the address of a static table.
        let plugin = unsafe { ((*entry).plugin)() };
        if plugin.is_null() {
            return Err(entry_error("its entry gives no table of functions"));
        }
        // SAFETY: a table begins with its size.
        if unsafe { (*plugin).size } < PLUGIN_BYTES {
            return Err(entry_error("its table of functions is shorter than that of ABI 1.0"));
        }
        let table = plugin.cast::<u8>();
        for (name, offset) in REQUIRED {
            // SAFETY: the size covers this field, whose address may be null where the plugin is not written in Rust: it
            // is read as a number.
            if unsafe { table.add(offset).cast::<usize>().read() } == 0 {
                return Err(entry_error(&format!("its table has no function `{name}`")));
            }
        }
        // SAFETY: the size covers these fields, and they hold addresses; later ones are not read, and no reference is
        // made.
        let functions = unsafe {
            Functions {
                open: (*plugin).open,
                close: (*plugin).close,
                begin: (*plugin).begin,
                step: (*plugin).step,
                end: (*plugin).end,
            }
        };
        Ok(Self { functions })
    }

    /// Opens a backend. `head` is the JSON of an `OpenHead`.
    ///
    /// # Errors
    /// The plugin's own words, or that it panicked.
    pub fn open_backend(self, head: &[u8], instance: u64) -> Result<Backend, OpenError> {
        let mut backend = ptr::null_mut();
        let mut err = Buf::empty();
        // SAFETY: the table was checked; all pointers are valid for the call, and the host's table for the
        // life of the process.
        let status = unsafe {
            (self.functions.open)(
                MessageRef::new(head, &[]),
                host_table::get(),
                instance,
                &raw mut backend,
                &raw mut err,
            )
        };
        let text = || String::from_utf8_lossy(err.as_slice()).into_owned();
        match status {
            STATUS_OK if !backend.is_null() => Ok(Backend { functions: self.functions, backend }),
            STATUS_OK => {
                Err(OpenError::Failed("it reports success but gives no backend".to_owned()))
            }
            STATUS_PANICKED => Err(OpenError::Panicked(text())),
            _ => Err(OpenError::Failed(text())),
        }
    }
}

/// Why a backend did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The plugin refuses the configuration.
    #[error("{0}")]
    Failed(String),
    /// The plugin panicked.
    #[error("{0}")]
    Panicked(String),
    /// Its process died of it, in words that go on after the plugin's name.
    #[error("{0}")]
    Died(String),
}

/// One configured backend of a plugin; closed when dropped.
pub struct Backend {
    functions: Functions,
    backend: *mut abi::Backend,
}

// SAFETY: the contract lets `begin` run on any thread, concurrently.
unsafe impl Send for Backend {}
// SAFETY: as above.
unsafe impl Sync for Backend {}

impl Drop for Backend {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `open`; every `Session` borrows an `Arc` of this, so all have ended.
        unsafe { (self.functions.close)(self.backend) }
    }
}

impl Backend {
    /// Begins a session under `token`, which must never have been used before.
    ///
    /// # Errors
    /// The plugin's own words.
    pub fn begin(self: &std::sync::Arc<Self>, token: u64) -> Result<Session, Error> {
        let mut session = ptr::null_mut();
        let mut err = Buf::empty();
        // SAFETY: the backend is open as long as `self` lives, and both places are valid for the call.
        let status =
            unsafe { (self.functions.begin)(self.backend, token, &raw mut session, &raw mut err) };
        if status == STATUS_OK && !session.is_null() {
            return Ok(Session { backend: std::sync::Arc::clone(self), session, panicked: false });
        }
        let text = String::from_utf8_lossy(err.as_slice()).into_owned();
        let text = if text.is_empty() { "the plugin began no session".to_owned() } else { text };
        let kind = if status == STATUS_PANICKED { ErrorKind::Panic } else { ErrorKind::Other };
        Err(Error::new(kind, text))
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Ok,
    /// The plugin says that it failed.
    Failed,
    /// The plugin panicked; the session takes no more steps.
    Panicked,
}

/// One session; ended when dropped.
pub struct Session {
    backend: std::sync::Arc<Backend>,
    session: *mut abi::Session,
    panicked: bool,
}

// SAFETY: calls for one session may move between threads; `&mut self` keeps them serial.
unsafe impl Send for Session {}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `begin`, and this is the only `end`; `step` cannot be running.
        unsafe { (self.backend.functions.end)(self.session) }
    }
}

impl Session {
    /// Gives the session one event; what it pushes is appended to `pushed`.
    pub fn step<A: Receive>(&mut self, head: &[u8], body: &[u8], pushed: &mut Vec<A>) -> Status {
        if self.panicked {
            return Status::Panicked;
        }
        let ctx = ptr::from_mut(pushed).cast();
        let sink = abi::Sink { size: size_of::<abi::Sink>(), ctx, push: push::<A> };
        // SAFETY: the session has not ended, `&mut self` makes the call the only one, and message and sink
        // live until it returns.
        let status = unsafe {
            (self.backend.functions.step)(
                self.session,
                MessageRef::new(head, body),
                &raw const sink,
            )
        };
        match status {
            STATUS_OK => Status::Ok,
            STATUS_PANICKED => {
                self.panicked = true;
                Status::Panicked
            }
            _ => Status::Failed,
        }
    }
}

/// The sink's function: takes one action down.
unsafe extern "C" fn push<A: Receive>(ctx: *mut c_void, head: Bytes, body: Buf) -> i32 {
    let taken = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `ctx` is the vector of this type that `step` borrows mutably for the length of its call, and the
        // contract has `push` called only inside it, on the same thread; `head` lives for this call.
        let (pushed, head) = unsafe { (&mut *ctx.cast::<Vec<A>>(), head.as_slice()) };
        pushed.push(A::receive(head, body));
    }));
    if taken.is_ok() { STATUS_OK } else { STATUS_FAILED }
}

/// The host table's `log`.
pub(super) unsafe extern "C" fn on_log(_ctx: *mut c_void, level: u32, text: Bytes) {
    // SAFETY: the contract has the text live for this call.
    host_table::log(None, level, unsafe { text.as_slice() });
}

/// The bytes of a library in a file of their own that nobody can change any more. `path` is where they are from.
///
/// # Errors
/// [`LoadError::Copy`].
pub fn sealed(path: &Path, bytes: &[u8]) -> Result<OwnedFd, LoadError> {
    private_copy(bytes).map_err(|source| LoadError::Copy { path: path.to_owned(), source })
}

fn private_copy(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd =
        rustix::fs::memfd_create("host-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    seal(&file)?;
    Ok(file.into())
}

/// How often a file is sealed that the kernel is busy with.
const SEALINGS: usize = 10;

/// Seals a file. While the kernel moves one of its pages elsewhere, it waits for a tenth of a second and then refuses.
fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let mut sealed = Err(Errno::BUSY);
    for _ in 0..SEALINGS {
        sealed = rustix::fs::fcntl_add_seals(file, seals);
        if sealed != Err(Errno::BUSY) {
            break;
        }
    }
    Ok(sealed?)
}

/// The command that grants a library of this manifest to load without a layout check.
fn granting(path: &Path, manifest: &[u8]) -> String {
    let id = serde_json::from_slice(manifest).map(|manifest: Manifest| manifest.plugin.id);
    command(&id.unwrap_or_default(), Some("unchecked-layout"), path.parent())
}

/// The dynamic linker's own words, which `libloading` keeps one level down.
fn describe(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The linker's words about the library at `address`, as it knows it, told of the file that its bytes are from: nothing
/// where they begin with it, since all that is said here does.
fn under_its_name(words: &str, address: &str, path: &Path) -> String {
    let own = words.strip_prefix(address).and_then(|rest| rest.strip_prefix(": "));
    own.unwrap_or(words).replace(address, &path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_linker_says_is_told_of_the_plugins_own_file() {
        for (words, expected) in [
            ("/proc/self/fd/4: undefined symbol: a", "undefined symbol: a"),
            (
                "/lib/libc.so.6: version `GLIBC_9' not found (required by /proc/self/fd/4)",
                "/lib/libc.so.6: version `GLIBC_9' not found (required by /p/libx.so)",
            ),
            (
                "libm.so.9: cannot open shared object file",
                "libm.so.9: cannot open shared object file",
            ),
        ] {
            assert_eq!(under_its_name(words, "/proc/self/fd/4", Path::new("/p/libx.so")), expected);
        }
    }
}
