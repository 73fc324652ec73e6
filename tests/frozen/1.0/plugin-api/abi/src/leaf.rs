//! The leaf types: what every table is made of. Frozen for a major, and checked by `abi_stable`.

use std::{mem::offset_of, slice};

#[cfg(feature = "layout-check")]
use abi_stable::StableAbi;

/// Borrowed bytes; they die with the call that passed them. Null with length 0 is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "layout-check", derive(StableAbi))]
pub struct Bytes {
    /// First byte, or null if `len` is 0.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

// SAFETY: `Bytes` is a pointer and a length without interior mutability; who dereferences it argues for it.
unsafe impl Send for Bytes {}
// SAFETY: as above, shared access reads two plain words.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Borrows `slice`.
    pub const fn new(slice: &[u8]) -> Self {
        Self { ptr: slice.as_ptr(), len: slice.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` must be valid for reads of `len` bytes, unchanged for `'a`.
    pub const unsafe fn as_slice<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.len == 0 {
            return &[];
        }
        // SAFETY: non-null, and the caller promises `len` readable bytes for `'a`.
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Owned bytes, released once by their maker's `free`. A null `ptr` holds nothing.
///
/// The fields are private, since safe code relies on what they promise: `ptr` is null or valid for reads of
/// `len` bytes until `free(ptr, len, cap)`, which may be called once, on any thread, and may be null.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(feature = "layout-check", derive(StableAbi))]
pub struct Buf {
    ptr: *mut u8,
    len: usize,
    cap: usize,
    // Spelt out: the layout check's derive knows a function by its type, not by an alias.
    free: Option<unsafe extern "C" fn(ptr: *mut u8, len: usize, cap: usize)>,
}

/// Releases a buffer: pointer, bytes in use, bytes allocated.
pub type Free = unsafe extern "C" fn(ptr: *mut u8, len: usize, cap: usize);

// SAFETY: a `Buf` owns its bytes alone, and the contract lets `free` run on any thread.
unsafe impl Send for Buf {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buf {}

impl Buf {
    /// Where the fields lie, by their names in the C header.
    pub const OFFSETS: [(&str, usize); 4] = [
        ("ptr", offset_of!(Self, ptr)),
        ("len", offset_of!(Self, len)),
        ("cap", offset_of!(Self, cap)),
        ("free", offset_of!(Self, free)),
    ];

    /// A buffer of these parts.
    ///
    /// # Safety
    /// They keep the promises of the type.
    pub const unsafe fn from_raw(ptr: *mut u8, len: usize, cap: usize, free: Option<Free>) -> Self {
        Self { ptr, len, cap, free }
    }

    /// A buffer that holds nothing.
    pub const fn empty() -> Self {
        Self { ptr: std::ptr::null_mut(), len: 0, cap: 0, free: None }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: who made this `Buf` promised `len` readable bytes until `free`, which only `drop` calls.
        unsafe { Bytes { ptr: self.ptr, len: self.len }.as_slice() }
    }
}

impl Default for Buf {
    fn default() -> Self {
        Self::empty()
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(free) = self.free.take() {
            // SAFETY: the three values are as the maker set them, and `take` makes this the only call.
            unsafe { free(self.ptr, self.len, self.cap) }
        }
    }
}

/// One message on its way to a plugin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "layout-check", derive(StableAbi))]
pub struct MessageRef {
    /// JSON, UTF-8; the receiver validates it.
    pub head: Bytes,
    /// Raw bytes that the head refers to.
    pub body: Bytes,
}

impl MessageRef {
    /// Borrows a head and a body.
    pub const fn new(head: &[u8], body: &[u8]) -> Self {
        Self { head: Bytes::new(head), body: Bytes::new(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_pointer_reads_as_empty() {
        // SAFETY: null reads as the empty slice by contract.
        assert!(unsafe { Bytes::EMPTY.as_slice() }.is_empty());
        assert!(Buf::empty().as_slice().is_empty());
    }

    #[test]
    fn a_buffer_is_freed_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static FREED: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C" fn free(_: *mut u8, _: usize, _: usize) {
            FREED.fetch_add(1, Ordering::SeqCst);
        }
        let mut byte = 7_u8;
        // SAFETY: one readable byte that outlives the buffer, and a `free` that only counts.
        drop(unsafe { Buf::from_raw(&raw mut byte, 1, 1, Some(free)) });
        assert_eq!(FREED.load(Ordering::SeqCst), 1);
    }
}
