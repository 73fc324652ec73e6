//! Panics of the author's code: caught, described, and kept off stderr, which is the host's alone.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::OnceLock,
};

use crate::abi::HostRef;

/// What a caught panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
    /// Calls of the host that this thread is inside of.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Makes this library's panics silent: one inside a call is described to the caller, one on a thread of
/// the plugin's own goes to the host's log. A library has a std of its own, so the host's hook is not touched.
pub(crate) fn silence(host: Option<HostRef>) {
    static HOST: OnceLock<HostRef> = OnceLock::new();
    let Some(host) = host else {
        return;
    };
    if HOST.set(host).is_ok() {
        panic::set_hook(Box::new(move |info| {
            if DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0) {
                remember(info);
            } else {
                let text = text_of(info.payload());
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                host.log(1, &format!("a thread of the plugin panicked at {place}: {text}"));
            }
        }));
    }
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

/// Runs a call of the host and catches its panic.
pub(crate) fn inside<T>(call: impl FnOnce() -> T) -> Result<T, Panic> {
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(call));
    let _ = DEPTH.try_with(|depth| depth.set(depth.get().saturating_sub(1)));
    result
}

/// The panic's message and, where the hook saw it, its place.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    let place = PLACE
        .try_with(|place| place.try_borrow_mut().map(|mut place| std::mem::take(&mut *place)))
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default();
    format!("the plugin panicked{place}: {}", text_of(panic))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}

/// Leaks the payload: its destructor could panic again.
pub(crate) fn forget(panic: Panic) {
    std::mem::forget(panic);
}
