//! Compiled scripts, least recently used ones given up first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::AST;

/// What the engine runs.
pub struct Code {
    pub ast: AST,
    #[cfg(feature = "grain")]
    pub program: Option<rhai::grain::SharedProgram>,
}

/// Copies of a script kept for runs at the same time.
const MAX_SPARES: usize = 7;

/// A script that parsed: its text (errors show the line) and its code.
pub struct Compiled {
    pub name: String,
    pub text: String,
    pub code: Code,
    busy: AtomicBool,
    spares: Mutex<Vec<Code>>,
    /// Bytes that it holds, as metered while it was compiled; spare copies are not counted.
    pub bytes: usize,
}

impl Compiled {
    pub fn new(name: String, text: String, code: Code, bytes: usize) -> Self {
        Self { name, text, code, busy: AtomicBool::new(false), spares: Mutex::default(), bytes }
    }

    /// Lends the code out. Threads that run the same code slow each other down, for every constant and
    /// name in it has a reference count that both write to; so each gets a copy of its own, made by
    /// `again` at the first time.
    pub fn lend<T>(&self, again: impl FnOnce() -> Option<Code>, call: impl FnOnce(&Code) -> T) -> T {
        struct Lent<'a>(&'a AtomicBool);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        if self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            let _lent = Lent(&self.busy);
            return call(&self.code);
        }
        let spares = || self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spares().pop();
        let Some(code) = spare.or_else(again) else { return call(&self.code) };
        let result = call(&code);
        let mut spares = spares();
        if spares.len() < MAX_SPARES {
            spares.push(code);
        }
        result
    }
}

struct Entry {
    compiled: Arc<Compiled>,
    used: u64,
}

#[derive(Default)]
struct Entries {
    /// By text, then by name: nearly always one name a text.
    by_text: HashMap<String, Vec<Entry>>,
    count: usize,
    bytes: usize,
    clock: u64,
}

/// Shared by all threads of an engine; bounded by count and by bytes.
pub struct Cache {
    entries: Mutex<Entries>,
    max_count: usize,
    max_bytes: usize,
}

impl Cache {
    pub fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { entries: Mutex::default(), max_count, max_bytes }
    }

    pub fn get(&self, name: &str, text: &str) -> Option<Arc<Compiled>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        let entry = entries.by_text.get_mut(text)?.iter_mut().find(|entry| entry.compiled.name == name)?;
        entry.used = now;
        Some(Arc::clone(&entry.compiled))
    }

    /// Adds a script; what two threads compiled at once is kept once.
    pub fn add(&self, compiled: &Arc<Compiled>) {
        if self.max_count == 0 || compiled.bytes > self.max_bytes {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let used = entries.clock;
        let named = entries.by_text.entry(compiled.text.clone()).or_default();
        if named.iter().any(|entry| entry.compiled.name == compiled.name) {
            return;
        }
        named.push(Entry { compiled: Arc::clone(compiled), used });
        entries.count += 1;
        entries.bytes += compiled.bytes;
        while entries.count > self.max_count || entries.bytes > self.max_bytes {
            entries.give_up_oldest();
        }
    }

    /// Scripts held, and the bytes that they hold.
    pub fn size(&self) -> (usize, usize) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        (entries.count, entries.bytes)
    }
}

impl Entries {
    /// A scan, which a few hundred entries and a compilation beside it don't feel.
    fn give_up_oldest(&mut self) {
        let all = self.by_text.values().flatten();
        let Some(oldest) = all.min_by_key(|entry| entry.used).map(|entry| Arc::clone(&entry.compiled)) else {
            return;
        };
        if let Some(named) = self.by_text.get_mut(&oldest.text) {
            named.retain(|entry| !Arc::ptr_eq(&entry.compiled, &oldest));
            if named.is_empty() {
                self.by_text.remove(&oldest.text);
            }
        }
        self.count -= 1;
        self.bytes -= oldest.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str, bytes: usize) -> Arc<Compiled> {
        let code = Code {
            ast: AST::empty(),
            #[cfg(feature = "grain")]
            program: None,
        };
        Arc::new(Compiled::new("script".into(), text.into(), code, bytes))
    }

    #[test]
    fn code_is_lent_to_one_at_a_time_and_copies_are_kept() {
        let script = compiled("a", 1);
        let mut made = 0;
        let mut copy = || {
            made += 1;
            Arc::into_inner(compiled("a", 1)).map(|script| script.code)
        };
        for _ in 0..3 {
            script.lend(
                || unreachable!("the first is free"),
                |first| script.lend(&mut copy, |second| assert!(!std::ptr::eq(first, second))),
            );
        }
        assert_eq!(made, 1);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(2, 1000);
        cache.add(&compiled("a", 1));
        cache.add(&compiled("b", 1));
        assert!(cache.get("script", "a").is_some());
        cache.add(&compiled("c", 1));
        assert!(cache.get("script", "b").is_none());
        assert!(cache.get("script", "a").is_some());
        assert!(cache.get("other", "a").is_none());
        assert_eq!(cache.size(), (2, 2));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let cache = Cache::new(100, 10);
        cache.add(&compiled("a", 6));
        cache.add(&compiled("b", 6));
        cache.add(&compiled("huge", 11));
        assert_eq!(cache.size(), (1, 6));
    }
}
