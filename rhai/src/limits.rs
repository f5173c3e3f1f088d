//! `Limits`: what a run may use.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What a run may use; each name is described in the package's stub.
#[pyclass(frozen, eq, hash, get_all, module = "herojobs_rhai")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    pub memory: usize,
    pub max_operations: u64,
    pub max_call_levels: usize,
    pub max_expr_depth: usize,
    pub max_function_expr_depth: usize,
    pub max_variables: usize,
    pub max_functions: usize,
    pub max_modules: usize,
    pub max_string_size: usize,
    pub max_array_size: usize,
    pub max_map_size: usize,
    pub max_script_size: usize,
    pub max_output: usize,
    pub cache_scripts: usize,
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            max_operations: 0,
            max_call_levels: 64,
            max_expr_depth: 64,
            max_function_expr_depth: 32,
            max_variables: 10_000,
            max_functions: 10_000,
            max_modules: 100,
            max_string_size: 0,
            max_array_size: 0,
            max_map_size: 0,
            max_script_size: 1 << 20,
            max_output: 1 << 20,
            cache_scripts: 256,
            cache_bytes: 32 << 20,
        }
    }
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (
        *, memory=256 << 20, max_operations=0, max_call_levels=64, max_expr_depth=64, max_function_expr_depth=32,
        max_variables=10_000, max_functions=10_000, max_modules=100, max_string_size=0, max_array_size=0,
        max_map_size=0, max_script_size=1 << 20, max_output=1 << 20, cache_scripts=256, cache_bytes=32 << 20,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, one a limit")]
    fn new(
        memory: usize,
        max_operations: u64,
        max_call_levels: usize,
        max_expr_depth: usize,
        max_function_expr_depth: usize,
        max_variables: usize,
        max_functions: usize,
        max_modules: usize,
        max_string_size: usize,
        max_array_size: usize,
        max_map_size: usize,
        max_script_size: usize,
        max_output: usize,
        cache_scripts: usize,
        cache_bytes: usize,
    ) -> PyResult<Self> {
        if !(1 << 16..=1 << 50).contains(&memory) {
            return Err(PyValueError::new_err(format!("memory: 64 KiB to 1 PiB, in bytes, not {memory}")));
        }
        if !(1..=100_000).contains(&max_call_levels) {
            return Err(PyValueError::new_err(format!(
                "max_call_levels: 1 to 100,000, not {max_call_levels}"
            )));
        }
        for (name, depth) in
            [("max_expr_depth", max_expr_depth), ("max_function_expr_depth", max_function_expr_depth)]
        {
            // The parser nests as deep, and looks at no stack.
            if !(1..=256).contains(&depth) {
                return Err(PyValueError::new_err(format!("{name}: 1 to 256, not {depth}")));
            }
        }
        Ok(Self {
            memory,
            max_operations,
            max_call_levels,
            max_expr_depth,
            max_function_expr_depth,
            max_variables,
            max_functions,
            max_modules,
            max_string_size,
            max_array_size,
            max_map_size,
            max_script_size,
            max_output,
            cache_scripts,
            cache_bytes,
        })
    }

    fn __repr__(&self) -> String {
        format!("Limits(memory={}, max_operations={}, ...)", self.memory, self.max_operations)
    }
}
