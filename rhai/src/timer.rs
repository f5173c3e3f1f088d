//! Deadlines of runs, kept by one thread for all of them.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use crate::state::RunState;

#[derive(Default)]
struct Timer {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    runs: BTreeMap<(Instant, u64), Weak<RunState>>,
    last: u64,
    started: bool,
}

/// A pointer, not a plain static: a forked child has no timer thread, so it starts with a new timer.
static TIMER: AtomicPtr<Timer> = AtomicPtr::new(ptr::null_mut());

fn timer() -> &'static Timer {
    let mut timer = TIMER.load(Ordering::Acquire);
    if timer.is_null() {
        let new = Box::into_raw(Box::<Timer>::default());
        timer = match TIMER.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(other) => {
                // SAFETY: nobody else has seen `new`.
                drop(unsafe { Box::from_raw(new) });
                other
            }
        };
    }
    // SAFETY: timers are never freed.
    unsafe { &*timer }
}

/// Forgets the parent's timer in a forked child; its memory stays, for its lock may be held.
pub fn after_fork() {
    TIMER.store(ptr::null_mut(), Ordering::Release);
}

impl Timer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            let Some((&key, _)) = queue.runs.first_key_value() else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if key.0 > now {
                queue = self.wake.wait_timeout(queue, key.0 - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let run = queue.runs.remove(&key).and_then(|run| run.upgrade());
            drop(queue);
            if let Some(run) = run {
                run.stop("timeout");
            }
            queue = self.queue();
        }
    }
}

/// A deadline that stands until this is dropped.
pub struct Deadline {
    timer: &'static Timer,
    key: (Instant, u64),
}

/// Has `run` stopped with the reason "timeout" at `when`.
pub fn stop_at(when: Instant, run: &Arc<RunState>) -> Deadline {
    let timer = timer();
    let mut queue = timer.queue();
    if !queue.started {
        queue.started = true;
        thread::Builder::new()
            .name("herojobs-rhai-timer".into())
            .stack_size(256 * 1024)
            .spawn(move || timer.work())
            .expect("the system has a thread for the timer");
    }
    queue.last += 1;
    let key = (when, queue.last);
    queue.runs.insert(key, Arc::downgrade(run));
    if queue.runs.first_key_value().is_some_and(|(first, _)| *first == key) {
        timer.wake.notify_one();
    }
    Deadline { timer, key }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.timer.queue().runs.remove(&self.key);
    }
}
