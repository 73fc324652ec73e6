//! Re-used buffers: a message costs no allocation once a thread is warm.
//!
//! A [`Buf`] made here returns to the pool of whichever thread frees it. The pool is bounded in count
//! and in the size of what it keeps, so that one huge reply is not held for ever.

use std::cell::RefCell;

use crate::Buf;

/// Buffers kept by a thread.
const KEPT: usize = 32;
/// Largest capacity kept, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with some capacity, from this thread's pool if it has one.
pub fn buffer() -> Vec<u8> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok().and_then(|mut pool| pool.pop()))
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(1024))
}

/// Gives a buffer back to this thread's pool.
pub fn recycle(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES {
        return;
    }
    buffer.clear();
    // A thread that is ending has no pool any more; the buffer is then simply dropped.
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut() {
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        }
    });
}

unsafe extern "C" fn free(ptr: *mut u8, len: usize, cap: usize) {
    // SAFETY: only `Buf::from` sets this function, with the parts of a `Vec` that it forgot.
    recycle(unsafe { Vec::from_raw_parts(ptr, len, cap) });
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        if bytes.capacity() == 0 {
            return Self::empty();
        }
        // SAFETY: the parts of a `Vec` that is forgotten here; `free` makes it whole again, once.
        unsafe { Self::from_raw(bytes.as_mut_ptr(), bytes.len(), bytes.capacity(), Some(free)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_buffer_is_used_again() {
        let mut first = buffer();
        first.extend_from_slice(b"abc");
        let address = first.as_ptr();
        let buf = Buf::from(first);
        assert_eq!(buf.as_slice(), b"abc");
        drop(buf);
        let second = buffer();
        assert_eq!(second.as_ptr(), address);
        assert!(second.is_empty());
    }

    #[test]
    fn a_huge_buffer_is_not_kept() {
        let _ = buffer();
        let before = POOL.with(|pool| pool.borrow().len());
        recycle(Vec::with_capacity(KEPT_BYTES + 1));
        assert_eq!(POOL.with(|pool| pool.borrow().len()), before);
    }
}
