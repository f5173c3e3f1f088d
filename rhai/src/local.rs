//! What a thread knows of the run that it evaluates: a script runs on the thread that asked for it, and
//! a Python function that it calls may run another, so this is a stack kept by guards.

use std::cell::Cell;
use std::ptr;

use rhai::NativeCallContext;

use crate::memory::UNMETERED;
use crate::state::RunState;

/// One block for everything, since each look at a thread-local of a shared library is a call.
pub struct Local {
    /// Bytes that may still be allocated.
    pub left: Cell<i64>,
    run: Cell<*const RunState>,
    /// The innermost call from Rhai into Python, through which a `RhaiFunction` calls back.
    context: Cell<*const NativeCallContext<'static>>,
    /// Lowest address that this thread's stack may reach; 0 before it was asked for.
    stack_low: Cell<usize>,
}

thread_local! {
    pub static LOCAL: Local = const {
        Local {
            left: Cell::new(UNMETERED),
            run: Cell::new(ptr::null()),
            context: Cell::new(ptr::null()),
            stack_low: Cell::new(0),
        }
    };
}

/// The run that this thread evaluates now.
#[inline(always)]
pub fn current<'a>() -> Option<&'a RunState> {
    // SAFETY: `enter` holds a reference for as long as the pointer is set. The lifetime is only used
    // within calls that the evaluation makes, which end before the guard does.
    LOCAL.with(|local| unsafe { local.run.get().as_ref() })
}

/// Restores what was before a run, also when it unwinds.
pub struct RunGuard<'a> {
    _run: &'a RunState,
    outer_run: *const RunState,
    outer_context: *const NativeCallContext<'static>,
    outer_left: i64,
    budget: i64,
}

/// Makes `run` this thread's run, with at most `budget` bytes to allocate.
pub fn enter(run: &RunState, budget: i64) -> RunGuard<'_> {
    LOCAL.with(|local| {
        let outer_left = local.left.get();
        let budget = budget.min(outer_left);
        local.left.set(budget);
        RunGuard {
            _run: run,
            outer_run: local.run.replace(run),
            outer_context: local.context.replace(ptr::null()),
            outer_left,
            budget,
        }
    })
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        LOCAL.with(|local| {
            local.run.set(self.outer_run);
            local.context.set(self.outer_context);
            local.left.set(self.outer_left - (self.budget - local.left.get()));
        });
    }
}

/// Bytes that the run on this thread may still allocate.
pub fn memory_left() -> i64 {
    LOCAL.with(|local| local.left.get())
}

/// Runs `call` with `context` as the way back into Rhai.
pub fn with_context<T>(context: &NativeCallContext, call: impl FnOnce() -> T) -> T {
    struct Restore(*const NativeCallContext<'static>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LOCAL.with(|local| local.context.set(self.0));
        }
    }
    let pointer = ptr::from_ref(context).cast::<NativeCallContext<'static>>();
    let _restore = Restore(LOCAL.with(|local| local.context.replace(pointer)));
    call()
}

/// The way back into Rhai, if this thread is in a call from `run` into Python.
pub fn context_of<'a>(run: *const RunState) -> Option<&'a NativeCallContext<'a>> {
    // SAFETY: `with_context` holds the reference for as long as the pointer is set, and the caller uses
    // it only before the Python function that it is called from returns.
    LOCAL.with(|local| {
        if local.run.get() == run {
            unsafe { local.context.get().cast::<NativeCallContext<'a>>().as_ref() }
        } else {
            None
        }
    })
}

/// Bytes of stack kept free below a script, for native functions and Python functions that it calls.
const STACK_RESERVE: usize = 256 * 1024;

/// The lowest stack address that a script on this thread may reach.
pub fn stack_low() -> usize {
    LOCAL.with(|local| {
        if local.stack_low.get() == 0 {
            let (low, size) = stack_bounds().unwrap_or((1, 0));
            local.stack_low.set(low + STACK_RESERVE.min(size / 4));
        }
        local.stack_low.get()
    })
}

#[cfg(target_os = "linux")]
fn stack_bounds() -> Option<(usize, usize)> {
    // SAFETY: the attributes are initialised by pthread_getattr_np and destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let (mut low, mut size) = (ptr::null_mut(), 0);
        let failed = libc::pthread_attr_getstack(&attributes, &mut low, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        (failed == 0).then_some((low as usize, size))
    }
}

#[cfg(target_os = "macos")]
fn stack_bounds() -> Option<(usize, usize)> {
    // SAFETY: both calls only read what is known of the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let (top, size) =
            (libc::pthread_get_stackaddr_np(thread) as usize, libc::pthread_get_stacksize_np(thread));
        Some((top - size, size))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn stack_bounds() -> Option<(usize, usize)> {
    None
}

/// Whether this is the process's first thread, on which Python's signal handlers run.
pub fn is_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: both calls take nothing and can't fail.
    unsafe {
        libc::gettid() == libc::getpid()
    }
    #[cfg(target_os = "macos")]
    // SAFETY: takes nothing and can't fail.
    unsafe {
        libc::pthread_main_np() == 1
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    false
}
