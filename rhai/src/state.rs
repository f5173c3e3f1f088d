//! The state of one run that its own thread and others share: stop signal, counters, output.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use rhai::{Dynamic, EvalAltResult, Module, Position, Shared};

use crate::cache::Compiled;
use crate::engine::EngineCore;
use crate::local;
use crate::output::Output;

const GO: u8 = 0;
const STOPPED: u8 = 1;
const MEMORY: u8 = 2;
const OPERATIONS: u8 = 3;
const STACK: u8 = 4;
const DONE: u8 = 5;

/// Operations between two looks at Python's signals on the main thread: some 100 ms.
const SIGNALS_EVERY: u64 = 1 << 22;
/// How long a `sleep` on the main thread goes without a look at Python's signals.
const SIGNALS_SLICE: Duration = Duration::from_millis(50);
/// Python exceptions kept, newest last, so that an uncaught one can be told as the cause.
const EXCEPTIONS_KEPT: usize = 16;

/// Why a run was ended before its script did.
pub enum End {
    Stopped(String),
    Memory(String),
    Operations,
    Stack,
    /// A KeyboardInterrupt or the like, raised by a Python function or a signal handler.
    Interrupted(PyErr),
}

#[derive(Default)]
struct Story {
    reason: String,
    interrupt: Option<PyErr>,
    exceptions: Vec<(i32, PyErr)>,
    exceptions_seen: i32,
}

/// Modules that a run has imported, and those that it is importing.
#[derive(Default)]
pub struct Imports {
    pub loaded: HashMap<PathBuf, Shared<Module>>,
    pub chain: Vec<String>,
    pub count: usize,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

pub struct RunState {
    /// Tells runs apart, from 1.
    pub number: u64,
    signal: AtomicU8,
    main_thread: AtomicU8,
    operations: AtomicU64,
    /// Operation at which the callback has to look closer: the limit, or a look at signals.
    pause_at: AtomicU64,
    max_operations: u64,
    stack_low: AtomicUsize,
    pub engine: Arc<EngineCore>,
    pub script: Arc<Compiled>,
    output: Mutex<Output>,
    story: Mutex<Story>,
    wake: Condvar,
    imports: Mutex<Imports>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunState {
    pub fn new(engine: Arc<EngineCore>, script: Arc<Compiled>) -> Self {
        let max_operations = match engine.limits.max_operations {
            0 => u64::MAX - 1,
            limit => limit,
        };
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            signal: AtomicU8::new(GO),
            main_thread: AtomicU8::new(0),
            operations: AtomicU64::new(0),
            pause_at: AtomicU64::new(max_operations + 1),
            max_operations,
            stack_low: AtomicUsize::new(0),
            output: Mutex::new(Output::new(engine.limits.max_output)),
            story: Mutex::default(),
            wake: Condvar::new(),
            imports: Mutex::default(),
            engine,
            script,
        }
    }

    /// Called on the thread that evaluates, before it does.
    pub fn begin(&self) {
        self.stack_low.store(local::stack_low(), Ordering::Relaxed);
        if local::is_main_thread() {
            self.main_thread.store(1, Ordering::Relaxed);
            self.pause_at.store(SIGNALS_EVERY.min(self.max_operations + 1), Ordering::Relaxed);
        }
    }

    /// Called before every expression, statement, loop turn and call: three plain loads and compares.
    #[inline(always)]
    pub fn progress(&self) -> Option<Dynamic> {
        let operations = self.operations.load(Ordering::Relaxed) + 1;
        self.operations.store(operations, Ordering::Relaxed);
        let here = 0_u8;
        if self.signal.load(Ordering::Relaxed) != GO
            || operations >= self.pause_at.load(Ordering::Relaxed)
            || std::ptr::from_ref(&here).addr() < self.stack_low.load(Ordering::Relaxed)
        {
            return self.look_closer(operations, std::ptr::from_ref(&here).addr());
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn look_closer(&self, operations: u64, stack: usize) -> Option<Dynamic> {
        if stack < self.stack_low.load(Ordering::Relaxed) {
            self.trip(STACK, String::new);
        } else if operations > self.max_operations {
            self.trip(OPERATIONS, String::new);
        } else if operations >= self.pause_at.load(Ordering::Relaxed) {
            let next = operations.saturating_add(SIGNALS_EVERY).min(self.max_operations + 1);
            self.pause_at.store(next, Ordering::Relaxed);
            self.check_signals();
        }
        self.ended().then_some(Dynamic::UNIT)
    }

    /// Whether something said that the run must end.
    pub fn ended(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != GO
    }

    /// The error that ends a script from within a native function.
    pub fn terminated(&self) -> Box<EvalAltResult> {
        Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE))
    }

    fn trip(&self, signal: u8, reason: impl FnOnce() -> String) -> bool {
        let mut story = lock(&self.story);
        let took = self.signal.compare_exchange(GO, signal, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if took {
            story.reason = reason();
            self.wake.notify_all();
        }
        took
    }

    /// Asks the run to end; false when it is over or was ended by something else before.
    pub fn stop(&self, reason: &str) -> bool {
        self.trip(STOPPED, || reason.to_owned())
    }

    /// Called by the allocator: must neither lock nor allocate.
    pub fn trip_memory(&self) {
        let _ = self.signal.compare_exchange(GO, MEMORY, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Ends the run since one call wants more than is left, before it allocates it.
    pub fn refuse_memory(&self, what: &str, bytes: u128) -> Box<EvalAltResult> {
        self.trip(MEMORY, || format!("{what} needs {bytes} bytes"));
        self.terminated()
    }

    /// Ends the run by a Python exception that no script may catch.
    pub fn interrupt(&self, error: PyErr) -> Box<EvalAltResult> {
        let _earlier = lock(&self.story).interrupt.replace(error);
        self.trip(STOPPED, || "interrupted".to_owned());
        self.terminated()
    }

    fn check_signals(&self) {
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            let _ = self.interrupt(error);
        }
    }

    /// Blocks for `time`, or until something ends the run.
    pub fn sleep(&self, time: Duration) -> Result<(), Box<EvalAltResult>> {
        let until = Instant::now().checked_add(time);
        let main_thread = self.main_thread.load(Ordering::Relaxed) == 1;
        let mut story = lock(&self.story);
        while !self.ended() {
            let now = Instant::now();
            let mut left = match until {
                Some(until) if until <= now => return Ok(()),
                Some(until) => until - now,
                None => Duration::MAX,
            };
            if main_thread {
                left = left.min(SIGNALS_SLICE);
            }
            // A wait of centuries is one that some systems refuse.
            left = left.min(Duration::from_secs(86_400));
            story = self.wake.wait_timeout(story, left).unwrap_or_else(PoisonError::into_inner).0;
            if main_thread {
                drop(story);
                self.check_signals();
                story = lock(&self.story);
            }
        }
        drop(story);
        Err(self.terminated())
    }

    /// Closes the run; tells what ended it if its script didn't.
    pub fn finish(&self) -> Option<End> {
        let before = self.signal.compare_exchange(GO, DONE, Ordering::AcqRel, Ordering::Acquire);
        lock(&self.output).close();
        *lock(&self.imports) = Imports::default();
        let mut story = lock(&self.story);
        match before {
            Ok(_) | Err(DONE) => None,
            Err(MEMORY) => Some(End::Memory(story.reason.clone())),
            Err(OPERATIONS) => Some(End::Operations),
            Err(STACK) => Some(End::Stack),
            Err(_) => Some(match story.interrupt.take() {
                Some(error) => End::Interrupted(error),
                None => End::Stopped(story.reason.clone()),
            }),
        }
    }

    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub fn output(&self) -> MutexGuard<'_, Output> {
        lock(&self.output)
    }

    pub fn imports(&self) -> MutexGuard<'_, Imports> {
        lock(&self.imports)
    }

    /// Keeps a Python exception; the number finds it again as the tag of the value that is thrown.
    fn keep_exception(&self, error: PyErr) -> i32 {
        let mut story = lock(&self.story);
        story.exceptions_seen = story.exceptions_seen.wrapping_add(1).max(1);
        let number = story.exceptions_seen;
        let full = story.exceptions.len() == EXCEPTIONS_KEPT;
        let oldest = full.then(|| story.exceptions.remove(0));
        story.exceptions.push((number, error));
        // The last reference to an exception may run Python code, so it goes after the lock.
        drop(story);
        drop(oldest);
        number
    }

    /// The exception that a thrown value stands for.
    pub fn exception(&self, py: Python<'_>, number: i32) -> Option<PyErr> {
        let story = lock(&self.story);
        story.exceptions.iter().find(|(kept, _)| *kept == number).map(|(_, error)| error.clone_ref(py))
    }

    /// Turns what a Python function raised into what the script sees of it.
    pub fn thrown(&self, py: Python<'_>, error: PyErr) -> Box<EvalAltResult> {
        if !error.is_instance_of::<PyException>(py) {
            return self.interrupt(error);
        }
        let mut map = rhai::Map::new();
        let name = error.get_type(py).name().map_or_else(|_| "Exception".into(), |name| name.to_string());
        map.insert("type".into(), name.into());
        map.insert("message".into(), error.value(py).to_string().into());
        let mut value = Dynamic::from_map(map);
        value.set_tag(self.keep_exception(error));
        Box::new(EvalAltResult::ErrorRuntime(value, Position::NONE))
    }
}
