//! The memory budget of a run: a global allocator that meters the thread it is called on.
//!
//! Outside a run the meter holds a number that no program can use up, so that the fast path is one
//! subtraction and one comparison, and nothing has to be switched on or off.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::local::LOCAL;

/// What the meter shows outside a run; half the range, so that frees can't make it wrap.
pub const UNMETERED: i64 = i64::MAX / 2;

pub struct Metered;

#[global_allocator]
static ALLOCATOR: Metered = Metered;

#[inline(always)]
fn charge(bytes: i64) {
    LOCAL.with(|local| {
        let left = local.left.get() - bytes;
        local.left.set(left);
        if left < 0 {
            over_budget();
        }
    });
}

/// Tells the run on this thread that it must end; it does at its next expression.
#[cold]
#[inline(never)]
fn over_budget() {
    if let Some(run) = crate::local::current() {
        run.trip_memory();
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; metering neither allocates nor
// unwinds (the thread-local is const and has no destructor).
unsafe impl GlobalAlloc for Metered {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as i64);
        System.alloc(layout)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as i64);
        System.alloc_zeroed(layout)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LOCAL.with(|local| local.left.set(local.left.get() + layout.size() as i64));
        System.dealloc(pointer, layout);
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        charge(size as i64 - layout.size() as i64);
        System.realloc(pointer, layout, size)
    }
}
