//! The Rhai engine for Python programs that run other people's scripts: detached from the interpreter,
//! stoppable from any thread, bounded in memory, and with errors that tell where.

mod builtins;
mod cache;
mod convert;
mod engine;
mod errors;
mod function;
mod limits;
mod local;
mod memory;
mod metadata;
mod modules;
mod output;
mod place;
mod run;
mod state;
mod timer;

use pyo3::prelude::*;

/// Keeps a panic that becomes an error of its run from being printed too.
fn quiet_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if local::current().is_none() {
            before(panic);
        }
    }));
}

#[pymodule]
mod _native {
    use super::{quiet_panics, timer, Bound, PyAnyMethods, PyModule, PyModuleMethods, PyResult};
    use pyo3::types::PyDict;
    use pyo3::{pyfunction, wrap_pyfunction};

    #[pymodule_export]
    use super::engine::{RhaiEngine, Script};
    #[pymodule_export]
    use super::function::RhaiFunction;
    #[pymodule_export]
    use super::limits::Limits;
    #[pymodule_export]
    use super::run::Run;

    #[pyfunction]
    fn after_fork() {
        timer::after_fork();
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        quiet_panics();
        module.add("BYTECODE", cfg!(feature = "grain"))?;
        let hooks = PyDict::new(module.py());
        hooks.set_item("after_in_child", wrap_pyfunction!(after_fork, module)?)?;
        module.py().import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
        Ok(())
    }
}
