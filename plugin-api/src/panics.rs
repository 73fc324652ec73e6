//! Panics of the author's code: caught, described, and kept off stderr, which is the host's alone.

use std::{
    any::Any,
    cell::RefCell,
    panic::{self, PanicHookInfo},
    sync::Once,
};

use crate::session::Panic;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes this library's panics silent and remembers where they happened. A library has a std of its own,
/// so the host's hook is not touched.
pub(crate) fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(remember)));
}

fn remember(info: &PanicHookInfo<'_>) {
    if let Some(location) = info.location() {
        // Fails only while the thread ends or inside this very hook; the place is then left out.
        let _ = PLACE.try_with(|place| {
            if let Ok(mut place) = place.try_borrow_mut() {
                *place = format!(" at {}:{}", location.file(), location.line());
            }
        });
    }
}

/// The panic's message and, where the hook saw it, its place.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text");
    let place =
        PLACE.try_with(|place| std::mem::take(&mut *place.borrow_mut())).unwrap_or_default();
    format!("the plugin panicked{place}: {text}")
}

/// Leaks the payload: its destructor could panic again.
pub(crate) fn forget(panic: Panic) {
    std::mem::forget(panic);
}
