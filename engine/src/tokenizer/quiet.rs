//! Calls of crates that may panic about what a file holds.
//!
//! They index and have `expect`s on their way: a file that meets one must not end the program, nor print a panic's report before the
//! error that the user gets. The program's own hook reports every other panic as before.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`quietly`].
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls a crate; its panic is the result.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Where the thread ends, the flag is gone, and nothing is quiet.
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                report(panic);
            }
        }));
    });
    QUIET.set(true);
    // What the crate left half done is not used again: no tokenizer, ids or text of this call are kept.
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    result
}
