//! `RhaiEngine`: one for each set of limits and functions, built once, shared by all threads.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySequence};
use rhai::{Engine, EvalAltResult, OptimizationLevel, Position};

use crate::builtins;
use crate::cache::{Cache, Code, Compiled};
use crate::convert::to_rhai;
use crate::errors;
use crate::function;
use crate::limits::Limits;
use crate::local;
use crate::metadata::{standard, FunctionInfo};
use crate::modules::{Folder, NoModules, Resolver};
use crate::run::Run;

/// What runs share. Nothing of a run is in it.
pub struct EngineCore {
    pub rhai: Engine,
    pub limits: Limits,
    pub folder: Option<Arc<Folder>>,
    pub python: Vec<FunctionInfo>,
    cache: Cache,
    bytecode: bool,
}

/// Parses a text; what it holds is metered, for the cache's bound.
pub fn compile(
    engine: &Engine,
    name: &str,
    text: String,
    max_size: usize,
    bytecode: bool,
) -> Result<Compiled, EvalAltResult> {
    if text.len() > max_size {
        let told = format!("A script of {} bytes (at most {max_size})", text.len());
        return Err(EvalAltResult::ErrorDataTooLarge(told, Position::NONE));
    }
    let before = local::memory_left();
    let code = code_of(engine, name, &text, bytecode)?;
    let bytes = usize::try_from(before - local::memory_left()).unwrap_or(0) + 2 * text.len();
    Ok(Compiled::new(name.to_owned(), text, code, bytes))
}

fn code_of(engine: &Engine, name: &str, text: &str, bytecode: bool) -> Result<Code, EvalAltResult> {
    let mut ast = engine.compile(text)?;
    ast.set_source(name);
    #[cfg(feature = "grain")]
    let program = bytecode.then(|| rhai::grain::Compiler::new().compile(&ast).into_shared());
    #[cfg(not(feature = "grain"))]
    let _ = bytecode;
    Ok(Code {
        ast,
        #[cfg(feature = "grain")]
        program,
    })
}

impl EngineCore {
    /// A copy of a script's code that shares nothing with it.
    pub fn again(&self, script: &Compiled) -> Option<Code> {
        code_of(&self.rhai, &script.name, &script.text, self.bytecode).ok()
    }
}

/// A script that parsed, to be run any number of times, on any thread.
#[pyclass(frozen, module = "herojobs_rhai")]
pub struct Script {
    compiled: Arc<Compiled>,
}

#[pymethods]
impl Script {
    /// The name that errors show.
    #[getter]
    fn name(&self) -> &str {
        &self.compiled.name
    }

    /// The script itself.
    #[getter]
    fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Signatures of the functions that the script defines.
    #[getter]
    fn functions(&self) -> Vec<String> {
        let functions = self.compiled.code.ast.iter_functions();
        let mut told: Vec<String> = functions
            .filter(|function| !function.name.starts_with("anon$"))
            .map(|function| format!("{}({})", function.name, function.params.join(", ")))
            .collect();
        told.sort_unstable();
        told
    }

    fn __repr__(&self) -> String {
        format!("<Script {:?}, {} bytes>", self.compiled.name, self.compiled.text.len())
    }
}

/// The Rhai language, bounded in time and memory.
#[pyclass(frozen, module = "herojobs_rhai")]
pub struct RhaiEngine {
    core: Arc<EngineCore>,
}

impl RhaiEngine {
    fn compiled(&self, py: Python<'_>, text: &str, name: &str) -> PyResult<Arc<Compiled>> {
        if let Some(compiled) = self.core.cache.get(name, text) {
            return Ok(compiled);
        }
        let core = &self.core;
        let outcome = py.detach(|| {
            catch_unwind(AssertUnwindSafe(|| {
                compile(&core.rhai, name, text.to_owned(), core.limits.max_script_size, core.bytecode)
            }))
            .unwrap_or_else(|_| {
                let told = "the parser panicked; please report the script".into();
                Err(EvalAltResult::ErrorSystem(told, "panic".into()))
            })
        });
        match outcome {
            Ok(compiled) => {
                let compiled = Arc::new(compiled);
                core.cache.add(&compiled);
                Ok(compiled)
            }
            Err(error) => {
                let nothing = Code {
                    ast: rhai::AST::empty(),
                    #[cfg(feature = "grain")]
                    program: None,
                };
                let script = Compiled::new(name.to_owned(), text.to_owned(), nothing, 0);
                Err(errors::parsing(py, core, &script, error))
            }
        }
    }

    fn script(&self, script: &Bound<'_, PyAny>) -> PyResult<Arc<Compiled>> {
        if let Ok(script) = script.cast::<Script>() {
            return Ok(Arc::clone(&script.get().compiled));
        }
        let Ok(text) = script.extract::<&str>() else {
            let name = script.get_type().name()?;
            return Err(PyTypeError::new_err(format!("script: a str or a compiled Script, not {name}")));
        };
        self.compiled(script.py(), text, "script")
    }

    fn start(
        &self,
        script: &Bound<'_, PyAny>,
        scope: Option<&Bound<'_, PyDict>>,
        deadline: Option<f64>,
        call: Option<(String, Option<&Bound<'_, PySequence>>)>,
    ) -> PyResult<Run> {
        let script = self.script(script)?;
        let mut values = rhai::Scope::new();
        for (name, value) in scope.into_iter().flat_map(|scope| scope.iter()) {
            let name: &str =
                name.extract().map_err(|_| PyTypeError::new_err("scope: the keys are names (str)"))?;
            let value = to_rhai(&value).map_err(|error| error.into_pyerr(&format!("scope[{name:?}]")))?;
            values.push_dynamic(name, value);
        }
        let call = match call {
            None => None,
            Some((name, args)) => {
                let mut given = Vec::new();
                for (index, arg) in
                    args.map(|args| args.to_list()).transpose()?.into_iter().flatten().enumerate()
                {
                    given.push(to_rhai(&arg).map_err(|error| error.into_pyerr(&format!("args[{index}]")))?);
                }
                Some((name, given))
            }
        };
        if deadline.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) {
            return Err(PyValueError::new_err("deadline: seconds from the start of the run, 0 or more"));
        }
        Ok(Run::new(Arc::clone(&self.core), script, values, call, deadline))
    }
}

#[pymethods]
impl RhaiEngine {
    #[new]
    #[pyo3(signature = (functions=None, modules=None, limits=None, *, bytecode=false))]
    fn new(
        functions: Option<&Bound<'_, PyDict>>,
        modules: Option<PathBuf>,
        limits: Option<&Bound<'_, Limits>>,
        bytecode: bool,
    ) -> PyResult<Self> {
        if bytecode && !cfg!(feature = "grain") {
            return Err(PyValueError::new_err(
                "bytecode: this build has no bytecode VM; build herojobs-rhai with the cargo feature grain",
            ));
        }
        let limits = limits.map_or_else(Limits::default, |limits| limits.get().clone());
        let mut rhai = Engine::new_raw();
        builtins::install(&mut rhai);
        rhai.set_optimization_level(OptimizationLevel::Simple)
            .set_max_call_levels(limits.max_call_levels)
            .set_max_expr_depths(limits.max_expr_depth, limits.max_function_expr_depth)
            .set_max_variables(limits.max_variables)
            .set_max_functions(limits.max_functions)
            .set_max_modules(limits.max_modules)
            .set_max_string_size(limits.max_string_size)
            .set_max_array_size(limits.max_array_size)
            .set_max_map_size(limits.max_map_size);
        rhai.on_progress(|_| local::current().and_then(|run| run.progress()));
        rhai.on_print(|text| {
            if let Some(run) = local::current() {
                run.output().line("", text);
            }
        });
        rhai.on_debug(|text, source, at| {
            if let Some(run) = local::current() {
                let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(1));
                let prefix = match source {
                    Some(source) if source != run.script.name => format!("{source}:{line}:{column} | "),
                    _ => format!("{line}:{column} | "),
                };
                run.output().line(&prefix, text);
            }
        });
        let folder = match modules {
            None => {
                rhai.set_module_resolver(NoModules);
                None
            }
            Some(path) => {
                let root =
                    std::fs::canonicalize(&path).ok().filter(|root| root.is_dir()).ok_or_else(|| {
                        PyValueError::new_err(format!("modules: {} is not a folder", path.display()))
                    })?;
                let folder = Arc::new(Folder::new(root, limits.max_script_size));
                rhai.set_module_resolver(Resolver(Arc::clone(&folder)));
                Some(folder)
            }
        };
        let python = functions
            .map(|functions| function::install(&mut rhai, functions))
            .transpose()?
            .unwrap_or_default();
        let cache = Cache::new(limits.cache_scripts, limits.cache_bytes);
        Ok(Self { core: Arc::new(EngineCore { rhai, limits, folder, python, cache, bytecode }) })
    }

    /// Parses a script, or finds it in the cache.
    #[pyo3(signature = (text, name="script"))]
    fn compile(&self, py: Python<'_>, text: &str, name: &str) -> PyResult<Script> {
        Ok(Script { compiled: self.compiled(py, text, name)? })
    }

    /// Prepares a run; nothing is evaluated before its result is asked for.
    #[pyo3(signature = (script, scope=None, deadline=None, *, function=None, args=None))]
    fn run(
        &self,
        script: &Bound<'_, PyAny>,
        scope: Option<&Bound<'_, PyDict>>,
        deadline: Option<f64>,
        function: Option<String>,
        args: Option<&Bound<'_, PySequence>>,
    ) -> PyResult<Run> {
        if function.is_none() && args.is_some() {
            return Err(PyTypeError::new_err("args: they are for a function; name it by `function`"));
        }
        self.start(script, scope, deadline, function.map(|name| (name, args)))
    }

    /// Runs a script and returns its value.
    #[pyo3(signature = (script, scope=None, deadline=None))]
    fn eval(
        &self,
        py: Python<'_>,
        script: &Bound<'_, PyAny>,
        scope: Option<&Bound<'_, PyDict>>,
        deadline: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        self.start(script, scope, deadline, None)?.evaluate(py)
    }

    /// Runs a script, then calls a function that it defines, and returns the function's value.
    #[pyo3(signature = (script, function, args=None, *, scope=None, deadline=None))]
    fn call(
        &self,
        py: Python<'_>,
        script: &Bound<'_, PyAny>,
        function: String,
        args: Option<&Bound<'_, PySequence>>,
        scope: Option<&Bound<'_, PyDict>>,
        deadline: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        self.start(script, scope, deadline, Some((function, args)))?.evaluate(py)
    }

    /// The functions that a script can call, Python's first.
    fn functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let all = self.core.python.iter().chain(standard());
        let told: PyResult<Vec<_>> = all.map(|info| info.to_dict(py)).collect();
        PyList::new(py, told?)
    }

    /// The limits that runs have.
    #[getter]
    fn limits(&self) -> Limits {
        self.core.limits.clone()
    }

    /// Whether scripts are compiled for the bytecode VM.
    #[getter]
    fn bytecode(&self) -> bool {
        self.core.bytecode
    }

    /// Compiled scripts held, and the bytes that they hold.
    #[getter]
    fn cached(&self) -> (usize, usize) {
        self.core.cache.size()
    }

    fn __repr__(&self) -> String {
        format!("<RhaiEngine, {} functions of Python>", self.core.python.len())
    }
}
