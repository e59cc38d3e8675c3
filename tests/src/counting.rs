//! An allocator that counts, so that a case can say how much memory a broken file made the reader take. A suite that asks makes it
//! its own: `#[global_allocator] static ALLOCATOR: Counting = Counting;`. In others [`peak`] is 0.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what the current thread allocates: each case runs on its own.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Runs `run`; also the most bytes that it held at once.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    USED.with(|used| used.set(0));
    PEAK.with(|peak| peak.set(0));
    let result = run();
    (result, PEAK.with(Cell::get).unsigned_abs())
}

fn count(bytes: isize) {
    // Fails while a thread ends; what is freed then no longer matters.
    let used = USED.try_with(|used| {
        used.set(used.get() + bytes);
        used.get()
    });
    if let Ok(used) = used {
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(used)));
    }
}

// SAFETY: every call is passed on to the system's allocator with its own arguments; the counters do not allocate.
#[allow(unsafe_code, reason = "counting what is allocated takes a global allocator, which is an unsafe trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both exist for a moment, when the allocator has to move.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `realloc`, and the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
